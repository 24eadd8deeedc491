"""Which of several independent normal variables is the largest: probabilities, and means given the winner.

p_a = integral prod_{b != a} F_b(y) dF_a(y), on one grid shared by all arms: K x G evaluations of the
normal CDF. The grid is the union of every arm's own quantile nodes above the point that the largest
surely exceeds, so that narrow and wide posteriors are both resolved. Arms that cannot win are dropped
first; two arms have a closed form.
"""

from __future__ import annotations

import math
from functools import cache
from operator import add, sub
from typing import Final, NamedTuple

import numpy as np
from scipy.special import ndtr

from banditd.core.types import FloatArray

_SHARPEST: Final = np.array(1e-9)  # a certain arm among uncertain ones is treated as this uncertain
_MOST_NODES: Final = 160
TINY: Final = 1e-150


class _Grid(NamedTuple):
    """reach : standard deviations looked at on each side. total, least : nodes of all arms together, of each arm."""

    reach: float
    total: int
    least: int


_FINE: Final = _Grid(4.0, 72, 9)  # 3e-5 of the mass is ignored
_COARSE: Final = _Grid(3.0, 40, 5)  # conditional means that weigh explorations need less
HEIGHT: Final = -1.0 / math.sqrt(2.0 * math.pi)  # of the normal density; minus, for what is below a point
_MINUS_HALF: Final = np.array(-0.5)  # as arrays: numpy takes twice as long, or more, for plain numbers
_ZERO: Final = np.array(0.0)


# The m variables that can win at all: their indices; their means, from a point that the largest surely exceeds; their
# deviations, > 0; that point. Plain numbers, because for a few that is faster than arrays.
Contenders = tuple[list[int], list[float], list[float], float]


def win_probabilities(mean: FloatArray, deviation: FloatArray) -> FloatArray:
    """P(a = argmax) for independent N(mean_a, deviation_a^2).

    Parameters
    ----------
    mean, deviation : float64, shape (n,); deviation >= 0.

    Returns
    -------
    float64, shape (n,), sum 1. Arms that win less often than about 1e-5 get exactly 0. Ties of arms
    without deviation are shared equally. At most 160 n normal CDFs.
    """
    n = mean.shape[0]
    if not deviation.any():
        winners = mean == mean.max()
        shared: FloatArray = winners / winners.sum()
        return shared
    active, mu, sd, _ = contenders(mean, deviation, _FINE.reach)
    result = np.zeros(n)
    if len(active) == 1:
        result[active[0]] = 1.0
        return result
    if len(active) == 2:
        p = float(ndtr((mu[0] - mu[1]) / math.hypot(sd[0], sd[1])))
        result[active[0]], result[active[1]] = p, 1.0 - p
        return result
    beliefs = np.array([mu, sd])
    z = _grid(beliefs, _FINE) - beliefs[0, :, None]
    z /= beliefs[1, :, None]
    cdf: FloatArray = ndtr(z)  # z is at least -reach at every point, so no CDF is zero
    others = cdf.prod(axis=0) / cdf  # product over other arms; where it underflows, nothing is lost
    wins = cdf[:, 1:] - cdf[:, :-1]
    wins *= others[:, 1:] + others[:, :-1]  # twice P(a wins) by interval
    p_active = 0.5 * wins.sum(axis=1)
    p_active += cdf[:, 0].prod() / len(active)  # nearly nothing lies below the grid
    result[active] = p_active / p_active.sum()
    return result


def contenders(mean: FloatArray, deviation: FloatArray, reach: float = _COARSE.reach) -> Contenders:
    """Who may be the largest if none is further than ``reach`` deviations from its mean.

    Parameters
    ----------
    mean, deviation : float64, shape (n,); deviation >= 0.
    """
    deviation = np.maximum(deviation, _SHARPEST)
    means, away = mean.tolist(), (deviation * reach).tolist()
    low = max(map(sub, means, away))
    active = [a for a, high in enumerate(map(add, means, away)) if high >= low]
    deviations = deviation.tolist()
    return active, [means[a] - low for a in active], [deviations[a] for a in active], low


def win_sums(among: Contenders) -> FloatArray:
    """What is expected of several independent normal variables, given which of them is the largest, as sums.

    E[value_a | value_a < y] = mean_a - deviation_a phi(z) / Phi(z) with z = (y - mean_a) / deviation_a, so what is
    expected of a where b wins needs, for each pair, one more sum over the grid that the probabilities of winning are
    summed on. The sums are handed out as they are, because to the callers every array operation counts. Divided by
    P(b wins) they are means given the winner. The grid is coarse, so the P do not add up to 1 (for many twins, whose
    nodes coincide, to nearly 2): what is to be a share or a mean over all winners is to be divided by their sum.

    Sums and differences of neighbouring points are taken over whole arrays at once, their rows end to end: what
    crosses from one row to the next stands in the last column and is left out.

    Returns
    -------
    float64, (m + 2, m), all times four: the means of an interval's ends are not halved, twice. Column b has
    E[value_a - mean_a; b wins] / (deviation_a ``HEIGHT``) for every a but b (nothing of meaning at b); then
    E[value_b; b wins], values counted as the means are; then P(b wins).
    """
    _, mu, sd, _ = among
    m = len(mu)
    if m == 1:
        return np.array([[0.0], [mu[0]], [1.0]])
    beliefs = np.array([mu, sd])
    points = _grid(beliefs, _COARSE)
    # Of every arm the product of the others' CDFs; of every arm phi / Phi; the points; ones, and one more.
    along = np.empty((2 * m + 2) * points.shape[0] + 1)
    starts = along[:-1]
    rows = starts.reshape(2 * m + 2, -1)
    rows[-2] = points
    along[-1 - points.shape[0] :] = 1.0
    z = rows[m:-2]
    np.subtract(points, beliefs[0, :, None], z)
    z /= beliefs[1, :, None]
    cdf = ndtr(z)  # z is at least -reach at every point, so no CDF is zero
    np.divide(np.multiply.reduce(cdf, 0), cdf, rows[:m])  # where it underflows, nothing is lost
    z *= z
    z *= _MINUS_HALF
    np.exp(z, z)
    z /= cdf
    levels = cdf.ravel()
    pairs = starts + along[1:]
    pairs[: levels.shape[0] - 1] *= levels[1:] - levels[:-1]  # P(b wins) by interval, twice
    pairs = pairs.reshape(rows.shape)[:, :-1]
    sums: FloatArray = pairs[m:].dot(pairs[:m].T)
    return sums


def _grid(beliefs: FloatArray, grid_of: _Grid) -> FloatArray:
    """Points (G,), ascending, from 0: the largest is not below. beliefs : mean and deviation, (2, m)."""
    points: FloatArray = _quantiles(grid_of, beliefs.shape[1]).dot(beliefs).ravel()
    points.sort()
    if points.shape[0] > _MOST_NODES:  # many arms: a thinned union is still dense where the arms are
        points = points[np.linspace(0, points.shape[0] - 1, _MOST_NODES).astype(np.intp)]
    below = points.searchsorted(_ZERO)  # mostly more than half, and one is enough
    if below:
        points = points[below - 1 :]
    points[0] = 0.0
    return points


@cache
def _quantiles(grid_of: _Grid, arms: int) -> FloatArray:
    """Rows (1, q), float64 (nodes of one arm, 2): their product with a mean and a deviation is a node."""
    nodes = max(grid_of.least, grid_of.total // arms)
    return np.column_stack((np.ones(nodes), np.linspace(-grid_of.reach, grid_of.reach, nodes)))
