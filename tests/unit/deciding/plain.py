"""The choice of an arm in plain numbers, one query and one arm at a time: slow, and easy to read against the papers.

What ``bandit/policies`` computes over arrays of many queries is computed here with loops, by the formulas of the
modules' first words. Of ``thompson`` only; of one query; every list is over the arms that may answer.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from banditd.bandit.posterior.posterior import Posterior
from banditd.core.types import FloatArray

REACH, NODES, LEAST_NODES, MOST_NODES = 3.0, 40, 5, 160
STEP, UNIT, SMOOTHING = 1e12, 1e4, 0.5


class Belief(NamedTuple):
    mean: list[float]
    deviation: list[float]
    utility: list[float]
    contrast: list[float]


def believe(posterior: Posterior, x: FloatArray, arms: list[int], penalty: list[float]) -> Belief:
    """Means, deviations, utilities, and variances of the difference to the leader less the leader's own."""
    rows = [posterior.inverse[arm] @ x for arm in arms]
    mean = [float(posterior.own[arm] @ x + x[0] * posterior.centre[arm]) for arm in arms]
    variance = [float(row @ x) for row in rows]
    if posterior.shared_spread is None:
        utility = [m - cost for m, cost in zip(mean, penalty, strict=True)]
        return Belief(mean, [math.sqrt(v) for v in variance], utility, variance)
    mean = [m + float(row @ posterior.shared_pull) for m, row in zip(mean, rows, strict=True)]
    utility = [m - cost for m, cost in zip(mean, penalty, strict=True)]
    lead = rows[utility.index(max(utility))]
    spread = posterior.shared_spread
    variance = [v + float(row @ spread @ row) for v, row in zip(variance, rows, strict=True)]
    common = float(lead @ spread @ lead)
    contrast = [
        max(v + common - 2.0 * float(row @ spread @ lead), 0.0) for v, row in zip(variance, rows, strict=True)
    ]
    return Belief(mean, [math.sqrt(v) for v in variance], utility, contrast)


def directed(utility: list[float], deviation: list[float], learnable: list[float]) -> list[float]:
    """Information-directed probabilities."""
    sharp = [max(d, 1e-9) for d in deviation]
    low = max(m - REACH * d for m, d in zip(utility, sharp, strict=True))
    able = [a for a, m in enumerate(utility) if m + REACH * sharp[a] >= low]
    found = [0.0] * len(utility)
    pulls = _pulls([utility[a] - low for a in able], [sharp[a] for a in able], [learnable[a] for a in able])
    for a, share in zip(able, _mixture(pulls), strict=True):
        found[a] = share
    return found


def _pulls(mean: list[float], deviation: list[float], learnable: list[float]) -> list[tuple[float, float]]:
    """(regret, information) of a pull of each contender, in whole steps; integrals by the trapezoidal rule."""
    n, each = len(mean), max(LEAST_NODES, NODES // len(mean))
    nodes = sorted(
        m + d * q for m, d in zip(mean, deviation, strict=True) for q in np.linspace(-REACH, REACH, each).tolist()
    )
    if len(nodes) > MOST_NODES:
        nodes = [nodes[int(i)] for i in np.linspace(0, len(nodes) - 1, MOST_NODES)]
    points = [0.0, *(y for y in nodes[1:] if y > 0.0)]
    normal = NormalDist()
    z = [[(y - m) / d for y in points] for m, d in zip(mean, deviation, strict=True)]
    cdf = [[0.5 * math.erfc(-one / math.sqrt(2.0)) for one in row] for row in z]
    below = [[normal.pdf(one) / c for one, c in zip(zs, cs, strict=True)] for zs, cs in zip(z, cdf, strict=True)]
    wins, value = [0.0] * n, [0.0] * n
    excess = [[0.0] * n for _ in range(n)]  # of a where b wins
    for k in range(len(points) - 1):
        for b in range(n):
            others = [math.prod(cdf[a][at] for a in range(n) if a != b) for at in (k, k + 1)]
            chance = 0.5 * (others[0] + others[1]) * (cdf[b][k + 1] - cdf[b][k])
            wins[b] += chance
            value[b] += chance * 0.5 * (points[k] + points[k + 1])
            for a in range(n):
                if a != b:
                    excess[a][b] -= chance * 0.5 * (below[a][k] + below[a][k + 1]) * deviation[a]
    total = sum(wins)
    pulls = []
    for a in range(n):
        excess[a][a] = value[a] - mean[a] * wins[a]
        regret = sum(value) / total - mean[a]
        told = sum(excess[a][b] ** 2 / wins[b] for b in range(n) if wins[b] > 1e-150) / total
        pulls.append((_steps(regret, 1e-9), _steps(UNIT * learnable[a] * told, 1e-10)))
    return pulls


def _steps(value: float, least: float) -> float:
    return float(round(max(value, least) * STEP))


def _mixture(pulls: list[tuple[float, float]]) -> list[float]:
    """Every ordered pair of arms mixed at its best, the pairs by how much worse than the best pair they are."""
    pairs = []
    for i, (r_i, v_i) in enumerate(pulls):
        for j, (r_j, v_j) in enumerate(pulls):
            q = _best_share(r_i, v_i, r_j, v_j)
            pairs.append((i, j, q, (r_j + q * (r_i - r_j)) ** 2 / (v_j + q * (v_i - v_j))))
    least = min(ratio for *_, ratio in pairs)
    share = [0.0] * len(pulls)
    for i, j, q, ratio in pairs:
        weight = math.exp(-(ratio / least) / SMOOTHING)
        share[i] += weight * q
        share[j] += weight * (1.0 - q)
    return [one / sum(share) for one in share]


def _best_share(r_i: float, v_i: float, r_j: float, v_j: float) -> float:
    gap, gain = r_i - r_j, v_i - v_j
    if abs(gap) <= 1.0 and abs(gain) <= 1.0:
        return 0.5
    if gap * gain <= 0.0:  # one costs no more and tells no less
        return 1.0 if gain > gap else 0.0
    return min(max(r_j / gap - 2.0 * v_j / gain, 0.0), 1.0)


def dollar_floors(cost: list[float], total: float) -> list[float]:
    n = len(cost)
    if n < 2:
        return [0.0] * n
    median = sorted(cost)[n // 2]
    return [total / n * (min(1.0, median / max(c, 1e-300)) if median > 0.0 else 1.0) for c in cost]


def mixed(probability: list[float], floors: list[float]) -> list[float]:
    rest = 1.0 - sum(floors)
    return [rest * p + f for p, f in zip(probability, floors, strict=True)]


def drawn(probability: list[float], uniform: float) -> int:
    reached = 0.0
    for index, p in enumerate(probability):
        reached += p
        if uniform < reached:
            return index
    return max(i for i, p in enumerate(probability) if p > 0.0)
