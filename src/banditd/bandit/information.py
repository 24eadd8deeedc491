"""Information-directed sampling: explore where an answer tells most for what it costs. No posterior, no drawing here.

With independent N(mean_a, deviation_a^2) beliefs of the arms' utilities on one query and A* the best arm:

    regret_a      = E[max] - mean_a                                  what a pull is expected to cost
    information_a = Var(E[utility_a | A*]) * v_a / (v_a + s2_a)      what it is expected to tell about A*

and the choice is the mixture of two arms that minimises regret^2 / information. Source: Russo and Van Roy 2018,
Learning to optimize via information-directed sampling (variance-based; some minimiser has at most two arms). The
second factor is ours: the share of a reward's variance that belief, not noise, accounts for. Thompson sampling draws
an arm as often as it may be the best, however dear or useless the pull; on replayed traffic that costs a third more.

The beliefs' conditional means come from the grid of ``quadrature.py``, so nothing is sampled and the probabilities
are exact functions of the posterior.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from banditd.bandit.quadrature import win_expectations
from banditd.core.types import FloatArray

SMOOTHING: Final = 0.5  # of the least ratio: mixtures that are so much worse count 1/e of the best
_LEAST: Final = 1e-14
_DIGITS: Final = 12  # regrets that differ by rounding alone are equal


def directed_probabilities(
    mean: FloatArray,
    deviation: FloatArray,
    variance: FloatArray,
    noise: FloatArray,
    curiosity: FloatArray | None = None,
) -> FloatArray:
    """Probability of each arm under information-directed sampling: float64, shape (n,), sum 1.

    Mixtures of two arms are themselves mixed by exp(-(ratio / least ratio - 1) / ``SMOOTHING``), so that arms that
    cannot be told apart are treated alike, and rewards that are late do not find everything on one arm.

    Parameters
    ----------
    mean : of the utilities. deviation : >= 0, that beliefs are given for this choice.
    variance : of the posterior, >= 0. noise : variance of one reward, > 0. float64, shape (n,) each.
    curiosity : factor on an arm's information, in [0, 1]: 0 where it is bought in another way. None for 1.
    """
    won = win_expectations(mean, deviation)
    active, result = won.active, np.zeros(mean.shape[0])
    if active.size == 1:
        result[active[0]] = 1.0
        return result
    regret = np.maximum(won.maximum - mean[active], 1e-9).round(_DIGITS)
    known = variance[active]
    information = won.probability @ np.square(won.excess)
    information *= known / (known + noise[active])
    if curiosity is not None:
        information *= curiosity[active]
    result[active] = _mixture(regret, np.maximum(information, _LEAST).round(_DIGITS + 4))
    return result


def _mixture(regret: FloatArray, information: FloatArray) -> FloatArray:
    """Share of each arm when every pair is mixed at its best and the pairs are mixed by their ratios.

    For a pair (i, j) with share q of i the ratio (r_j + q (r_i - r_j))^2 / (v_j + q (v_i - v_j)) is convex in q and
    stationary at q = r_j / (r_i - r_j) - 2 v_j / (v_i - v_j).
    """
    gap = regret[:, None] - regret
    more = information[:, None] - information
    tight = gap * more <= 0.0
    q = regret / np.where(tight, 1.0, gap)
    q -= (2.0 * information) / np.where(tight, 1.0, more)
    q[tight] = ((gap <= 0.0) & (more >= 0.0))[tight]  # one arm costs no more and tells no less
    np.maximum(q, 0.0, out=q)
    np.minimum(q, 1.0, out=q)
    gap *= q
    gap += regret
    gap *= gap
    more *= q
    more += information
    gap /= more  # the ratio of every pair
    gap *= -1.0 / (SMOOTHING * float(gap.min()))
    weight = np.exp(gap, out=gap)
    total = weight.sum(axis=0)
    weight *= q
    share: FloatArray = weight.sum(axis=1) + total - weight.sum(axis=0)
    return share / float(share.sum())
