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
from operator import mul
from typing import Final

import numpy as np

from banditd.bandit.policies.quadrature import HEIGHT, TINY, Contenders, contenders, win_sums
from banditd.core.types import FloatArray

SMOOTHING: Final = 0.5  # of the least ratio: mixtures that are so much worse count 1/e of the best
_UNIT: Final = 1e4  # information is squared reward; its unit changes no choice
_STEP: Final = 1e12  # what differs by rounding alone is equal: regret and information are counted in 1 / _STEP
_LEAST_REGRET: Final = 1e-9 * _STEP  # in steps
_LEAST_INFORMATION: Final = 1e-10 * _STEP  # in steps of the unit
_LEAST: Final = np.array([[_LEAST_REGRET], [_LEAST_INFORMATION]])
_ROUND: Final = 1.5 * 2.0**52  # added and taken off, leaves the nearest whole number in a tenth of round's time
_STATIONARY: Final = np.array([[1.0], [-2.0]])
_FEW: Final = 14  # arms, up to which plain numbers are faster than arrays

_Pull = tuple[float, float, int]  # regret, information, index of the arm


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
    among = contenders(mean, deviation)
    active = among[0]
    result = np.zeros(mean.shape[0])
    if len(active) == 1:
        result[active[0]] = 1.0
        return result
    known, unheard = variance.tolist(), noise.tolist()
    told = [known[a] / (known[a] + unheard[a]) for a in active]  # of a reward's variance, what belief accounts for
    if curiosity is not None:
        told = [share * factor for share, factor in zip(told, curiosity[active].tolist(), strict=True)]
    sums = win_sums(among)
    if len(active) > _FEW:
        result[active] = _mixture_of_many(_pulls(among, sums, told))
    else:
        _mix_few(_few_pulls(among, sums, told), result)
    return result


def _few_pulls(among: Contenders, sums: FloatArray, told: list[float]) -> list[_Pull]:
    """``_pulls`` in plain numbers, which for a few arms are faster than arrays."""
    active, means, deviations, _ = among
    *columns, own, wins = sums.tolist()
    weights = [1.0 / (chance + TINY) for chance in wins]
    total = sum(wins)
    best, unit = sum(own) / total, _STEP * _UNIT * HEIGHT * HEIGHT / total
    pulls = []
    for i, mu in enumerate(means):
        excesses, width = columns[i], deviations[i]
        excesses[i] = (own[i] - mu * wins[i]) / (width * HEIGHT)  # E[value_i - mean_i; i wins], into its place
        spread = sum(map(mul, weights, map(mul, excesses, excesses)))
        r, v = _STEP * (best - mu), unit * told[i] * spread * width * width
        r = (r if r > _LEAST_REGRET else _LEAST_REGRET) + _ROUND - _ROUND  # noqa: FURB136  (calls of max take longer)
        v = (v if v > _LEAST_INFORMATION else _LEAST_INFORMATION) + _ROUND - _ROUND  # noqa: FURB136
        pulls.append((r, v, active[i]))
    return pulls


def _pulls(among: Contenders, sums: FloatArray, told: list[float]) -> FloatArray:
    """(regret, information) of a pull of each arm that can win, float64 (2, m), in whole steps.

    sums : of ``win_sums``; they are overwritten. told : factor on an arm's information.
    """
    mu, width = np.array(among[1]), HEIGHT * np.array(among[2])
    m = mu.shape[0]
    best, wins = sums[m:]
    excess = sums[:m]
    np.fill_diagonal(excess, (best - mu * wins) / width)  # E[value_b - mean_b; b wins], into its place
    total = np.add.reduce(wins)
    excess *= excess
    pulls = np.empty((2, m))
    np.subtract(np.add.reduce(best) / total, mu, out=pulls[0])
    np.matmul(excess, 1.0 / (wins + TINY), out=pulls[1])
    width *= width
    pulls[1] *= np.array(told) * width
    pulls[1] *= _UNIT / total
    pulls *= _STEP
    np.maximum(pulls, _LEAST, out=pulls)
    return np.rint(pulls, out=pulls)


def _mix_few(pulls: list[_Pull], result: FloatArray) -> None:
    """``_mixture_of_many`` in plain numbers, into ``result``, float64 (n,), at the arms' indices.

    With j the cheaper arm of a pair and s = (r_i - r_j) / (v_i - v_j), the least ratio is 4 s (r_j - v_j s), and
    q (r_i - r_j) = r_j - 2 v_j s. Either order of a pair counts. ``pulls`` are left sorted.
    """
    pulls.sort()
    ratios = [r * r / v for r, v, _ in pulls]
    alone = [1.0] * len(pulls)  # how often the best mixture of a pair is one arm
    mixed, least = [], min(ratios)
    for i, (r_i, v_i, _) in enumerate(pulls):
        for j in range(i):
            r_j, v_j, _ = pulls[j]
            gap, more = r_i - r_j, v_i - v_j
            if gap <= 1.0 and -1.0 <= more <= 1.0:  # alike, but for rounding
                alone[i] += 1.0
                alone[j] += 1.0
            elif more > 0.0:
                slope = gap / more
                half = v_j * slope
                ahead = r_j - half - half
                if ahead >= gap:
                    alone[i] += 2.0
                elif ahead > 0.0:
                    ratio = 4.0 * slope * (r_j - half)
                    mixed.append((i, j, ahead / gap, ratio))
                    if ratio < least:  # noqa: PLR1730  (a call of min takes longer)
                        least = ratio
                else:
                    alone[j] += 2.0
            else:  # j costs no more and tells no less
                alone[j] += 2.0
    scale = -1.0 / (SMOOTHING * least)
    share = [alone[i] * math.exp(scale * ratio) for i, ratio in enumerate(ratios)]
    for i, j, q, ratio in mixed:
        weight = 2.0 * math.exp(scale * ratio)
        share[i] += weight * q
        share[j] += weight * (1.0 - q)
    total = sum(share)
    for i, (_, _, a) in enumerate(pulls):
        result[a] = share[i] / total


def _mixture_of_many(pulls: FloatArray) -> FloatArray:
    """Share of each arm when every pair is mixed at its best and the pairs are mixed by their ratios: (m,), sum 1.

    For a pair (i, j) with share q of i the ratio (r_j + q (r_i - r_j))^2 / (v_j + q (v_i - v_j)) is convex in q and
    stationary at q = r_j / (r_i - r_j) - 2 v_j / (v_i - v_j). An arm with itself is a pair too. Where two arms differ
    in nothing, or in one step, which rounding alone can do, each has half. By arrays, whose time grows less with the
    number of arms than ``_mix_few``'s, but is more for a few.

    pulls : (regret, information), float64 (2, m), in whole steps.
    """
    more = pulls[:, :, None] - pulls[:, None, :]  # of i than of j: regret, information
    gap = more[0]
    tight = gap * more[1] <= 0.0  # one of the two costs no more and tells no less
    parts = (pulls * _STATIONARY)[:, None, :] / np.where(tight, 1.0, more)
    q = parts[0] + parts[1]
    np.copyto(q, np.heaviside(more[1] - gap, 0.5), where=tight)
    np.copyto(q, 0.5, where=np.abs(more).max(axis=0) <= 1.0)  # alike, but for rounding
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
