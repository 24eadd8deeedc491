"""Information-directed sampling: explore where an answer tells most for what it costs. No posterior, no drawing here.

With independent N(mean_a, deviation_a^2) beliefs of the arms' utilities on one query and A* the best arm:

    regret_a      = E[max] - mean_a                                  what a pull is expected to cost
    information_a = Var(E[utility_a | A*]) * v_a / (v_a + s2_a)      what it is expected to tell about A*

and the choice is the mixture of two arms that minimises regret^2 / information. Source: Russo and Van Roy 2018,
Learning to optimize via information-directed sampling (variance-based; some minimiser has at most two arms). The
second factor is ours: the share of a reward's variance that belief, not noise, accounts for. Thompson sampling draws
an arm as often as it may be the best, however dear or useless the pull; on replayed traffic that costs a third more.

The beliefs' conditional means come from the grid of ``quadrature.py``, so nothing is sampled and the probabilities
are exact functions of the posterior. Arrays are (n_queries, n_arms) unless said otherwise.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from scipy.special import ndtr

from banditd.bandit.policies.quadrature import COARSE, Contenders, contenders, grid_points, standardised
from banditd.core.types import BoolArray, FloatArray

SMOOTHING: Final = 0.5  # mixtures whose ratio is worse by this share of the least ratio count 1/e of the best
UNIT: Final = 1e4  # information is squared reward; its unit changes no choice
STEP: Final = 1e12  # regret and information are rounded to 1 / STEP, so that rounding errors do not matter
_LEAST: Final = np.array([1e-9 * STEP, 1e-10 * STEP]).reshape(2, 1, 1)  # of regret, of information in its unit
_HEIGHT: Final = -1.0 / math.sqrt(2.0 * math.pi)  # of the normal density; minus, for what is below a point
_TINY: Final = 1e-150


def directed_probabilities(
    mean: FloatArray,
    deviation: FloatArray,
    variance: FloatArray,
    noise: FloatArray,
    allowed: BoolArray,
    curiosity: FloatArray | None = None,
) -> FloatArray:
    """Probability of each arm under information-directed sampling: float64, rows sum to 1.

    Mixtures of two arms are themselves mixed by exp(-(ratio / least ratio - 1) / ``SMOOTHING``), so that arms that
    cannot be told apart are treated alike, and rewards that are late do not find everything on one arm.

    Parameters
    ----------
    mean : of the utilities. deviation : >= 0, that beliefs are given for this choice. variance : of the posterior,
    >= 0. allowed : at least one arm of every query.
    noise : float64 (n_arms,), variance of one reward, > 0.
    curiosity : float64 (n_arms,), factor on an arm's information, in [0, 1]: 0 where it is bought in another way.
    None for 1.
    """
    among = contenders(mean, deviation, allowed, COARSE)
    learnable = variance / (variance + noise)  # of a reward's variance, what belief accounts for
    if curiosity is not None:
        learnable = learnable * curiosity
    return best_mixture(pulls(among, learnable), among.able)


def pulls(among: Contenders, learnable: FloatArray) -> FloatArray:
    """(regret, information) of a pull of each contender, in whole steps: float64 (2, n_queries, n_arms).

    E[value_a | value_a < y] = mean_a - deviation_a phi(z) / Phi(z) with z = (y - mean_a) / deviation_a, so the
    expectation of a where b wins is one more sum over the same grid as the probabilities of winning. The grid is
    coarse, so these do not add up to 1 (for many twins, whose nodes coincide, to nearly 2): shares and means are
    divided by their sum.
    """
    mu, width = among.mean, _HEIGHT * among.deviation
    points = grid_points(among, COARSE)
    z = standardised(among, points)
    cdf = ndtr(z)  # z is at least -reach at every point, so no CDF is zero
    others = np.multiply.reduce(cdf, 1, keepdims=True) / cdf  # where the product underflows, nothing is lost
    win = (others[..., :-1] + others[..., 1:]) * (cdf[..., 1:] - cdf[..., :-1])  # P(b wins) by interval, twice
    np.multiply(z, z, out=z)
    z *= -0.5
    ratio = np.exp(z, out=z)
    ratio /= cdf
    excess = (ratio[..., :-1] + ratio[..., 1:]) @ win.transpose(0, 2, 1)  # of a (row) where b (column) wins
    best = np.vecdot(win, (points[:, :-1] + points[:, 1:])[:, None, :])
    wins = 2.0 * np.add.reduce(win, 2)
    own = np.arange(mu.shape[1])
    excess[:, own, own] = (best - mu * wins) / width
    excess *= excess
    total = np.add.reduce(wins, 1, keepdims=True)
    found = np.empty((2, *mu.shape))
    np.subtract(np.add.reduce(best, 1, keepdims=True) / total, mu, out=found[0])
    spread = np.vecdot(excess, (1.0 / (wins + _TINY))[:, None, :])
    np.multiply(spread, learnable * (width * width) * (UNIT / total), out=found[1])
    found *= STEP
    whole: FloatArray = np.rint(np.maximum(found, _LEAST, out=found), out=found)
    return whole


def best_mixture(found: FloatArray, able: BoolArray) -> FloatArray:
    """Share of each arm when every pair is mixed at its best and the pairs by their ratios: float64, rows sum to 1.

    For a pair (i, j) with share q of i the ratio (r_j + q (r_i - r_j))^2 / (v_j + q (v_i - v_j)) is convex in q and
    stationary at q = r_j / (r_i - r_j) - 2 v_j / (v_i - v_j). An arm with itself is a pair too. Where two arms differ
    in nothing, or in one step, which rounding alone can do, each has half.

    found : (regret, information), float64 (2, n_queries, n_arms), in whole steps. able : which count.
    """
    more = found[..., :, None] - found[..., None, :]  # of i than of j: regret, information
    gap, gain = more
    tight = gap * gain <= 0.0  # one of the two costs no more and tells no less
    safe = np.where(tight, 1.0, more)
    q = found[0][:, None, :] / safe[0] - 2.0 * found[1][:, None, :] / safe[1]
    q = np.where(tight, np.heaviside(gain - gap, 0.5), q)
    q[np.maximum.reduce(np.abs(more), 0) <= 1.0] = 0.5  # equal, apart from rounding
    np.minimum(np.maximum(q, 0.0, out=q), 1.0, out=q)
    regret, gained = more * q + found[..., None, :]
    ratio = np.where(able[:, :, None] & able[:, None, :], regret * regret / gained, np.inf)
    ratio *= -1.0 / SMOOTHING / np.minimum.reduce(ratio, (1, 2), keepdims=True)
    # Each pair occurs twice, with the same ratio and shares that sum to 1.
    share: FloatArray = np.vecdot(np.exp(ratio, out=ratio), q)
    share /= np.add.reduce(share, 1, keepdims=True)
    return share
