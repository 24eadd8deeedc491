"""How many more decisions would narrow an interval to a given width, if an arm keeps its share of them. Pure."""

from __future__ import annotations

import math
from typing import Final

from banditd.ope.fixed import FEWEST, FixedArmSums, Z, mean_residual_power
from banditd.ope.reference import ENOUGH_WORTH, TOLERANCE, verdict_of

ENOUGH_TO_FORETELL: Final = 20
"""With fewer rated decisions nothing is predicted, because the spread of rewards is hardly known."""


def half_width_to_judge(sums: FixedArmSums, keep: float) -> float | None:
    """The interval's half-width at which it would be known whether ``keep`` of that arm's quality was kept.

    None where nothing is known of the arm; 0 where the quality is exactly at the edge. keep : in (0, 1].
    """
    known = verdict_of(sums)
    if known.reward is None or known.baseline_reward is None or known.half_width is None:
        return None
    wanted = abs(known.reward / (keep - TOLERANCE) - known.baseline_reward)
    if known.worth < ENOUGH_WORTH:
        wanted = min(wanted, known.half_width * math.sqrt(known.worth / ENOUGH_WORTH))
    return wanted


def share_to_come(sums: FixedArmSums, least: float) -> float:
    """The share of the traffic that the arm is expected to get: as so far, but ``least`` at least. In [0, 1]."""
    return max(least, sums.worth / sums.rated if sums.rated else 0.0)


def decisions_to_settle(sums: FixedArmSums, half_width: float, share: float) -> int | None:
    """Further rated decisions until the interval's half-width is ``half_width``.

    With n decisions so far, m to come at share f and s2 the residual power: z^2 s2 (sum (1 - p) / p + m (1 - f) / f)
    / (n + m)^2 = half_width^2, solved for m; Student's quantile is approximated by the normal one.

    Parameters
    ----------
    half_width : > 0, in rewards. share : of the traffic that the arm gets from now on, in [0, 1].

    Returns
    -------
    0 if it is narrow enough already; None if the arm gets nothing, or too little to give a number.
    """
    if sums.half_width <= half_width:
        return 0
    if share <= 0.0:
        return None
    share = min(share, 1.0)
    power = mean_residual_power(sums.rated, sums.drawn, sums.residual_power)
    to_come = (1.0 - share) / share
    so_far = max(sums.inverse_probability - sums.rated, 0.0)
    linear = Z * Z * power * to_come
    constant = Z * Z * power * (so_far - to_come * sums.rated)
    root = math.sqrt(max(linear * linear + 4.0 * half_width * half_width * constant, 0.0))
    total = (linear + root) / (2.0 * half_width * half_width)
    answers = max(FEWEST - sums.drawn, 0.0) / share
    if not (math.isfinite(total) and math.isfinite(answers)):
        return None
    return max(math.ceil(total - sums.rated), math.ceil(answers), 1)
