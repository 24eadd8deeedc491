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
_TINY: Final = 1e-150


class _Grid(NamedTuple):
    """reach : standard deviations looked at on each side. total, least : nodes of all arms together, of each arm."""

    reach: float
    total: int
    least: int


_FINE: Final = _Grid(4.0, 72, 9)  # 3e-5 of the mass is ignored
_COARSE: Final = _Grid(3.0, 40, 5)  # conditional means that weigh explorations need less
_HALF_HEIGHT: Final = -0.5 / math.sqrt(2.0 * math.pi)  # of the normal density; minus, for what is below a point


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
    _, _, _, wins, below = _on_grid(mu, sd, low, _FINE)
    p_active = wins.sum(axis=1) + below
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
    active, mu, sd, low = _contenders(mean, deviation, _COARSE.reach)
    if active.size == 1:
        return Wins(active, np.ones(1), np.zeros((1, 1)), float(mu[0]))
    grid, z, cdf, wins, _ = _on_grid(mu, sd, low, _COARSE)
    z *= z
    z *= -0.5
    np.exp(z, out=z)
    z /= cdf  # z was at least -3 by the choice of the grid, so the ratio is harmless
    probability = wins.sum(axis=1)
    excess = wins @ (z[:, 1:] + z[:, :-1]).T
    excess *= sd * _HALF_HEIGHT
    own = wins @ (grid[1:] + grid[:-1])
    own *= 0.5
    total = probability.sum()
    maximum = float(own.sum() / total)
    own -= mu * probability
    excess.ravel()[:: mu.shape[0] + 1] = own
    excess /= np.maximum(probability, _TINY)[:, None]
    probability /= total
    return Wins(active, probability, excess, maximum)


def _contenders(
    mean: FloatArray, deviation: FloatArray, reach: float
) -> tuple[IntArray, FloatArray, FloatArray, float]:
    """(indices that can win, their means, their deviations, a point that the largest surely exceeds)."""
    deviation = np.maximum(deviation, _SHARPEST)
    away = reach * deviation
    low = float((mean - away).max())
    active = np.flatnonzero(mean + away >= low)
    return active, mean[active], deviation[active], low


def _on_grid(
    mu: FloatArray, sd: FloatArray, low: float, grid_of: _Grid
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, FloatArray]:
    """On a grid of G points, of n arms: points (G,), z-scores and CDFs (n, G), P(a wins) by interval and below.

    The last two are (n, G - 1) and (n,).
    """
    n = mu.shape[0]
    grid = (mu[:, None] + sd[:, None] * _quantiles(grid_of.reach, max(grid_of.least, grid_of.total // n))).ravel()
    np.maximum(grid, low, out=grid)
    grid.sort()
    if grid.shape[0] > _MOST_NODES:  # many arms: a thinned union is still dense where the arms are
        grid = grid[np.linspace(0, grid.shape[0] - 1, _MOST_NODES).astype(np.intp)]
    z = grid - mu[:, None]
    z /= sd[:, None]
    cdf = ndtr(z)
    np.maximum(cdf, _TINY, out=cdf)
    others = cdf.prod(axis=0) / cdf  # product over the other arms; where it underflows, nothing is lost
    wins = cdf[:, 1:] - cdf[:, :-1]
    wins *= 0.5 * (others[:, 1:] + others[:, :-1])
    return grid, z, cdf, wins, cdf[:, 0] * others[:, 0] / n  # nearly nothing lies below the grid


@cache
def _quantiles(reach: float, nodes: int) -> FloatArray:
    return np.linspace(-reach, reach, nodes)
