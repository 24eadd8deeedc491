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

import math
from typing import Final

import numpy as np

from banditd.bandit.quadrature import TINY, win_sums
from banditd.core.types import FloatArray

SMOOTHING: Final = 0.5  # of the least ratio: mixtures that are so much worse count 1/e of the best
_UNIT: Final = 1e4  # information is squared reward; its unit changes no choice
_LEAST_REGRET: Final = 1e-9
_LEAST_INFORMATION: Final = 1e-10  # in units
_LEAST: Final = np.array([[_LEAST_REGRET], [_LEAST_INFORMATION]])
_DIGITS: Final = 12  # what differs by rounding alone is equal
_STATIONARY: Final = np.array([[1.0], [-2.0]])
_FEW: Final = 9  # arms, up to which plain numbers are faster than arrays


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
    active, mu, sums = win_sums(mean, deviation)
    result = np.zeros(mean.shape[0])
    if active.size == 1:
        result[active[0]] = 1.0
        return result
    told = variance / (variance + noise)  # of a reward's variance, what belief accounts for
    if curiosity is not None:
        told *= curiosity
    few = active.size <= _FEW
    result[active] = _of_few(mu, sums, told[active]) if few else _mixture(*_pulls(mu, sums, told[active]))
    return result


def _of_few(mu: FloatArray, sums: FloatArray, told: FloatArray) -> list[float]:
    """``_mixture`` of ``_pulls`` in plain numbers, which for a few arms take a third of the time."""
    means, rows = mu.tolist(), sums.tolist()
    m, total = len(means), 0.0
    weights, best = [], 0.0
    for b, row in enumerate(rows):
        total += row[m + 1]
        best += row[m]
        row[b] = row[m] - means[b] * row[m + 1]  # E[value_b - mean_b; b wins], into its place
        weights.append(1.0 / max(row[m + 1], TINY))
    best /= total
    regret, information = [], []
    for a, share in enumerate(told.tolist()):
        spread = 0.0
        for row, weight in zip(rows, weights, strict=True):
            spread += weight * row[a] * row[a]
        regret.append(round(max(best - means[a], _LEAST_REGRET), _DIGITS))
        information.append(round(max(_UNIT * share * spread / total, _LEAST_INFORMATION), _DIGITS))
    return _mixture_of_few(regret, information)


def _pulls(mu: FloatArray, sums: FloatArray, told: FloatArray) -> FloatArray:
    """(regret, information) of a pull of each arm, float64 (2, m), rounded; information in units of 1 / ``_UNIT``.

    mu, sums : of ``win_sums``; sums are overwritten. told : factor on an arm's information, (m,).
    """
    m = mu.shape[0]
    best, won = sums[:, m:].T
    sums.ravel()[:: m + 3] = best - mu * won  # E[value_b - mean_b; b wins], into its place
    total = np.add.reduce(won)
    excess = sums[:, :m]
    excess *= excess
    pulls = np.empty((2, m))
    np.subtract(np.add.reduce(best) / total, mu, out=pulls[0])
    np.matmul(1.0 / np.maximum(won, TINY), excess, out=pulls[1])
    pulls[1] *= told * (_UNIT / total)
    np.maximum(pulls, _LEAST, out=pulls)
    return pulls.round(_DIGITS)


def _mixture(regret: FloatArray, information: FloatArray) -> FloatArray:
    """Share of each arm when every pair is mixed at its best and the pairs are mixed by their ratios.

    For a pair (i, j) with share q of i the ratio (r_j + q (r_i - r_j))^2 / (v_j + q (v_i - v_j)) is convex in q and
    stationary at q = r_j / (r_i - r_j) - 2 v_j / (v_i - v_j). An arm with itself is a pair too. Where two arms differ
    in nothing each has half.
    """
    if regret.shape[0] > _FEW:
        return _mixture_of_many(regret, information)
    return np.array(_mixture_of_few(regret.tolist(), information.tolist()))


def _mixture_of_few(regret: list[float], information: list[float]) -> list[float]:
    rows = list(zip(regret, information, strict=True))
    ratios = [r * r / v for r, v in rows]
    pairs = []
    for i, (r_i, v_i) in enumerate(rows):
        for j, (r_j, v_j) in enumerate(rows[:i]):
            gap, more = r_i - r_j, v_i - v_j
            if gap * more > 0.0:
                q = min(1.0, max(0.0, r_j / gap - 2.0 * v_j / more))
            else:  # one of the two costs no more and tells no less
                q = 0.5 if gap == more else float(more > gap)
            pairs.append((i, j, q, (r_j + q * gap) ** 2 / (v_j + q * more)))
    scale = -1.0 / (SMOOTHING * min(*ratios, *[pair[3] for pair in pairs]))
    share = [math.exp(scale * ratio) for ratio in ratios]
    for i, j, q, ratio in pairs:
        weight = 2.0 * math.exp(scale * ratio)  # either order of a pair counts
        share[i] += weight * q
        share[j] += weight * (1.0 - q)
    total = sum(share)
    return [part / total for part in share]


def _mixture_of_many(regret: FloatArray, information: FloatArray) -> FloatArray:
    """``_mixture`` by arrays: its time grows less with the number of arms, but is more for a few."""
    pulls = np.array([regret, information])
    more = pulls[:, :, None] - pulls[:, None, :]  # of i than of j: regret, information
    gap = more[0]
    tight = gap * more[1] <= 0.0  # one of the two costs no more and tells no less
    parts = (pulls * _STATIONARY)[:, None, :] / np.where(tight, 1.0, more)
    q = parts[0] + parts[1]
    np.copyto(q, np.heaviside(more[1] - gap, 0.5), where=tight)
    np.maximum(q, 0.0, out=q)
    np.minimum(q, 1.0, out=q)
    more *= q
    more += pulls[:, None, :]
    gap *= gap
    gap /= more[1]  # the ratio of every pair
    gap *= -1.0 / (SMOOTHING * float(gap.min()))
    # Each pair stands there twice, with the same ratio and shares that sum to 1.
    share: FloatArray = np.vecdot(np.exp(gap, out=gap), q)
    share /= share.sum()
    return share
