"""Which of several independent normal variables is the largest: probabilities, and means given the winner.

p_a = integral prod_{b != a} F_b(y) dF_a(y), on one grid shared by all arms: K x G evaluations of the
normal CDF. The grid is the union of every arm's own quantile nodes above the point that the largest
surely exceeds, so that narrow and wide posteriors are both resolved. Arms that cannot win are dropped
first; two arms have a closed form.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Final, NamedTuple

import numpy as np
from scipy.special import ndtr

from banditd.core.types import FloatArray, IntArray

_SHARPEST: Final = 1e-9  # a certain arm among uncertain ones is treated as this uncertain
_MOST_NODES: Final = 160
TINY: Final = 1e-150


class _Grid(NamedTuple):
    """reach : standard deviations looked at on each side. total, least : nodes of all arms together, of each arm."""

    reach: float
    total: int
    least: int


_FINE: Final = _Grid(4.0, 72, 9)  # 3e-5 of the mass is ignored
_COARSE: Final = _Grid(3.0, 40, 5)  # conditional means that weigh explorations need less
_HEIGHT: Final = -1.0 / math.sqrt(2.0 * math.pi)  # of the normal density; minus, for what is below a point


class Wins(NamedTuple):
    """What is expected of several independent normal variables, given which of them is the largest.

    active : intp, shape (m,), those that can win at all. probability : (m,), of being the largest, sum 1.
    excess : (m, m), entry [b, a] = E[value_a - mean_a | b is the largest]. maximum : E[the largest].
    """

    active: IntArray
    probability: FloatArray
    excess: FloatArray
    maximum: float


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
    active, mu, sd, low = _contenders(mean, deviation, _FINE.reach)
    result = np.zeros(n)
    if active.size == 1:
        result[active[0]] = 1.0
        return result
    if active.size == 2:
        p = float(ndtr((mu[0] - mu[1]) / np.hypot(sd[0], sd[1])))
        result[active[0]], result[active[1]] = p, 1.0 - p
        return result
    grid = _grid(mu, sd, low, _FINE)
    z = grid - mu[:, None]
    z /= sd[:, None]
    cdf, wins = _on_grid(z)
    p_active = 0.5 * wins.sum(axis=1)
    p_active += cdf[:, 0].prod() / active.size  # nearly nothing lies below the grid
    result[active] = p_active / p_active.sum()
    return result


def win_expectations(mean: FloatArray, deviation: FloatArray) -> Wins:
    """Conditional means given the winner, for independent N(mean_a, deviation_a^2).

    E[value_a | value_a < y] = mean_a - deviation_a phi(z) / Phi(z) with z = (y - mean_a) / deviation_a, so each pair
    needs one more sum over the same grid.

    Parameters
    ----------
    mean, deviation : float64, shape (n,); deviation >= 0.
    """
    active, mu, sums = win_sums(mean, deviation)
    m = mu.shape[0]
    own, probability = sums[:, m:].T
    total = probability.sum()
    maximum = float(own.sum() / total)
    own -= mu * probability
    excess = sums[:, :m]
    np.fill_diagonal(excess, own)
    excess /= np.maximum(probability, TINY)[:, None]
    probability /= total
    return Wins(active, probability, excess, maximum)


def win_sums(mean: FloatArray, deviation: FloatArray) -> tuple[IntArray, FloatArray, FloatArray]:
    """What ``win_expectations`` is made of, for callers to whom every array operation counts.

    Returns
    -------
    Of the m variables that can win: their indices; their means, (m,); and sums, (m, m + 2), whose row b has
    E[value_a - mean_a; b wins] for every a but b (nothing of meaning at b), E[value_b; b wins] and P(b wins), all
    times four: the means of the interval's ends are not halved, twice.
    """
    active, mu, sd, low = _contenders(mean, deviation, _COARSE.reach)
    m = mu.shape[0]
    if m == 1:
        return active, mu, np.array([[0.0, float(mu[0]), 1.0]])
    grid = _grid(mu, sd, low, _COARSE)
    rows = np.empty((m + 2, grid.shape[0]))  # of every arm phi / Phi; the points; ones: all summed in one product
    z = rows[:m]
    np.subtract(grid, mu[:, None], out=z)
    z /= sd[:, None]
    cdf, wins = _on_grid(z)
    z *= z
    z *= -0.5
    np.exp(z, out=z)
    z /= cdf  # z was at least -3 by the choice of the grid, so the ratio is harmless
    z *= (sd * _HEIGHT)[:, None]
    rows[m] = grid
    rows[m + 1] = 1.0
    return active, mu, wins @ (rows[:, 1:] + rows[:, :-1]).T


def _contenders(
    mean: FloatArray, deviation: FloatArray, reach: float
) -> tuple[IntArray, FloatArray, FloatArray, float]:
    """(indices that can win, their means, their deviations, a point that the largest surely exceeds)."""
    deviation = np.maximum(deviation, _SHARPEST)
    away = reach * deviation
    low = float(np.maximum.reduce(mean - away))
    active: IntArray = (mean + away >= low).nonzero()[0]
    return active, mean[active], deviation[active], low


def _grid(mu: FloatArray, sd: FloatArray, low: float, grid_of: _Grid) -> FloatArray:
    """Points (G,), ascending, none below ``low``."""
    points = sd[:, None] * _quantiles(grid_of.reach, max(grid_of.least, grid_of.total // mu.shape[0]))
    points += mu[:, None]
    grid = points.ravel()
    np.maximum(grid, low, out=grid)
    grid.sort()
    if grid.shape[0] > _MOST_NODES:  # many arms: a thinned union is still dense where the arms are
        grid = grid[np.linspace(0, grid.shape[0] - 1, _MOST_NODES).astype(np.intp)]
    return grid


def _on_grid(z: FloatArray) -> tuple[FloatArray, FloatArray]:
    """From z-scores of n arms at G points, (n, G): their CDFs (n, G), and twice P(a wins) by interval, (n, G - 1)."""
    cdf: FloatArray = ndtr(z)  # z is at least -reach at every point, so no CDF is zero
    others = np.multiply.reduce(cdf, axis=0) / cdf  # product over other arms; where it underflows, nothing is lost
    wins = cdf[:, 1:] - cdf[:, :-1]
    wins *= others[:, 1:] + others[:, :-1]
    return cdf, wins


@cache
def _quantiles(reach: float, nodes: int) -> FloatArray:
    return np.linspace(-reach, reach, nodes)
