"""How many more decisions would narrow an interval to a given width, if an arm keeps its share of them. Pure."""

from __future__ import annotations

import math
from typing import Final

from banditd.ope.fixed import FEWEST, FixedArmSums, Z, mean_residual_power

ENOUGH_TO_FORETELL: Final = 20
"""With fewer rated decisions nothing is predicted, because the spread of rewards is hardly known."""


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
