"""Which of several independent normal variables is the largest, for many queries at once.

p_a = integral prod_{b != a} F_b(y) dF_a(y), on one grid shared by the arms of a query: the union of every arm's own
quantile nodes above the point that the largest surely exceeds, so that narrow and wide posteriors are both resolved.
Arms that may not be chosen, or cannot win, are masked: their CDF is 1 on the whole grid.

Arrays are (n_queries, n_arms) unless said otherwise.
"""

from __future__ import annotations

from functools import cache
from typing import Final, NamedTuple

import numpy as np
from scipy.special import ndtr

from banditd.core.types import BoolArray, FloatArray, IntArray

SHARPEST: Final = 1e-9  # a certain arm among uncertain ones is treated as this uncertain
_MOST_NODES: Final = 160


class Grid(NamedTuple):
    """reach : standard deviations covered on each side.

    total, least : nodes of all arms together, and of each arm.
    """

    reach: float
    total: int
    least: int


FINE: Final = Grid(4.0, 72, 9)  # 3e-5 of the mass is ignored
COARSE: Final = Grid(3.0, 40, 5)  # enough for the conditional means that direct exploration


class Contenders(NamedTuple):
    """The arms that may be the largest, if none is further from its mean than the grid's reach.

    mean : above the point that the largest surely exceeds; 0 for the others.
    deviation : at least ``SHARPEST``.
    able : which arms they are.
    """

    mean: FloatArray
    deviation: FloatArray
    able: BoolArray


def contenders(mean: FloatArray, deviation: FloatArray, allowed: BoolArray, grid: Grid) -> Contenders:
    """The contenders of every query; at least one arm of each is ``allowed``."""
    sharp = np.maximum(deviation, SHARPEST)
    away = sharp * grid.reach
    low = np.maximum.reduce(np.where(allowed, mean - away, -np.inf), 1, keepdims=True)
    able = allowed & (mean + away >= low)
    return Contenders(np.where(able, mean - low, 0.0), sharp, able)


def standardised(among: Contenders, points: FloatArray) -> FloatArray:
    """(point - mean) / deviation, float64 (n_queries, n_arms, n_points), infinite for arms that cannot win."""
    z = points[:, None, :] - np.where(among.able, among.mean, -np.inf)[:, :, None]
    z /= among.deviation[:, :, None]
    return z


def win_probabilities(mean: FloatArray, deviation: FloatArray, allowed: BoolArray) -> FloatArray:
    """P(a = argmax) for independent N(mean_a, deviation_a^2) among the allowed.

    Parameters
    ----------
    mean, deviation : float64; deviation >= 0. allowed : at least one arm of every query.

    Returns
    -------
    float64, rows sum to 1. Arms that win less often than about 1e-5 get exactly 0; two contenders have the closed
    form. Ties of arms without deviation are shared equally.
    """
    among = contenders(mean, deviation, allowed, FINE)
    cdf = ndtr(standardised(among, grid_points(among, FINE)))
    others = cdf.prod(1)[:, None, :] / cdf  # where the product underflows, nothing is lost
    wins = (cdf[..., 1:] - cdf[..., :-1]) * (others[..., 1:] + others[..., :-1])  # twice P(a wins) by interval
    count = among.able.sum(1, keepdims=True)
    # Almost no mass lies below the grid.
    share = np.where(among.able, 0.5 * wins.sum(2) + cdf[..., :1].prod(1) / count, 0.0)
    share /= share.sum(1, keepdims=True)
    pairs = np.flatnonzero(count[:, 0] == 2)
    if pairs.size:
        share[pairs] = _better_of_two(among, pairs)
    certain = np.flatnonzero(~(allowed & (deviation > 0.0)).any(1))
    if certain.size:
        value = np.where(allowed[certain], mean[certain], -np.inf)
        best = value == value.max(1, keepdims=True)
        share[certain] = best / best.sum(1, keepdims=True)
    return share


def _better_of_two(among: Contenders, rows: IntArray) -> FloatArray:
    """P(a wins) of two contenders: float64 (len(rows), n_arms)."""
    able = among.able[rows]
    gap = np.where(able, among.mean[rows], 0.0)
    gap = np.where(able, 2.0 * gap - gap.sum(1, keepdims=True), 0.0)  # of each over the other
    spread = np.sqrt(np.where(able, among.deviation[rows] ** 2, 0.0).sum(1, keepdims=True))
    found: FloatArray = np.where(able, ndtr(gap / spread), 0.0)
    return found


def grid_points(among: Contenders, grid: Grid) -> FloatArray:
    """The contenders' quantiles, ascending from 0: float64 (n_queries, n_points). Repeated points weigh nothing."""
    able = among.able
    count, row = np.add.reduce(able, 1, dtype=np.intp), np.arange(able.shape[0])[:, None]
    rank, quantile, kept = _nodes(able.shape[1], grid)
    arms = (~able).argsort(1, kind="stable")[row, rank[count]]
    points = quantile[count] * among.deviation[row, arms]
    points += among.mean[row, arms]
    points.sort(1)
    thinned: FloatArray = np.maximum(points[row, kept[count]], 0.0)  # below 0 one point is enough
    thinned[:, 0] = 0.0
    return thinned


@cache
def _nodes(n_arms: int, grid: Grid) -> tuple[IntArray, FloatArray, IntArray]:
    """Of m contenders (row m): which of them each node belongs to, its quantile, and which sorted nodes are kept.

    Rows are filled up with infinite quantiles, which sort to the end; in their place the last node is repeated. The
    union of many arms' nodes is thinned: it is still dense where the arms are.
    """
    sizes = [max(grid.least, grid.total // m) for m in range(1, n_arms + 1)]
    width = max(m * size for m, size in enumerate(sizes, 1))
    rank, quantile = np.zeros((n_arms + 1, width), dtype=np.intp), np.full((n_arms + 1, width), np.inf)
    kept = np.zeros((n_arms + 1, min(width, _MOST_NODES)), dtype=np.intp)
    for m, size in enumerate(sizes, 1):
        n = m * size
        rank[m, :n] = np.repeat(np.arange(m), size)
        quantile[m, :n] = np.tile(np.linspace(-grid.reach, grid.reach, size), m)
        thinned = np.linspace(0, n - 1, _MOST_NODES).astype(np.intp)
        kept[m] = thinned if n > _MOST_NODES else np.minimum(np.arange(kept.shape[1]), n - 1)
    return rank, quantile, kept
