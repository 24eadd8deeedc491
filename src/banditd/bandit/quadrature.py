"""Probability that each of several independent normal variables is the largest. Nothing else.

p_a = integral prod_{b != a} F_b(y) dF_a(y), on one grid shared by all arms: K x G evaluations of the
normal CDF. The grid is the union of every arm's own quantile nodes above the point that the largest
surely exceeds, so that narrow and wide posteriors are both resolved. Arms that cannot win are dropped
first; two arms have a closed form.
"""

from __future__ import annotations

from functools import cache
from typing import Final

import numpy as np
from scipy.special import ndtr

from banditd.core.types import FloatArray

_REACH: Final = 4.0  # standard deviations looked at on each side: 3e-5 of the mass is ignored
_SHARPEST: Final = 1e-9  # a certain arm among uncertain ones is treated as this uncertain
_MOST_NODES: Final = 160
_TINY: Final = 1e-150
_NODES: Final = 72  # total nodes, shared by the arms that are left


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
    deviation = np.maximum(deviation, _SHARPEST)
    low = float((mean - _REACH * deviation).max())
    active = np.flatnonzero(mean + _REACH * deviation >= low)
    result = np.zeros(n)
    if active.size == 1:
        result[active[0]] = 1.0
        return result
    mu, sd = mean[active], deviation[active]
    if active.size == 2:
        p = float(ndtr((mu[0] - mu[1]) / np.hypot(sd[0], sd[1])))
        result[active[0]], result[active[1]] = p, 1.0 - p
        return result
    result[active] = _on_grid(mu, sd, low)
    return result


def _on_grid(mu: FloatArray, sd: FloatArray, low: float) -> FloatArray:
    n = mu.shape[0]
    grid = (mu[:, None] + sd[:, None] * _quantiles(max(9, _NODES // n))).ravel()
    np.maximum(grid, low, out=grid)
    grid.sort()
    if grid.shape[0] > _MOST_NODES:  # many arms: a thinned union is still dense where the arms are
        grid = grid[np.linspace(0, grid.shape[0] - 1, _MOST_NODES).astype(np.intp)]
    cdf = grid - mu[:, None]
    cdf /= sd[:, None]
    ndtr(cdf, out=cdf)  # (n, G)
    np.maximum(cdf, _TINY, out=cdf)
    others = cdf.prod(axis=0) / cdf  # product over the other arms; where it underflows, nothing is lost
    mass = cdf[:, 1:] - cdf[:, :-1]
    p = 0.5 * np.vecdot(mass, others[:, 1:] + others[:, :-1])
    p += cdf[:, 0] * others[:, 0] / n  # nearly nothing lies below the grid
    result: FloatArray = p / p.sum()
    return result


@cache
def _quantiles(nodes: int) -> FloatArray:
    return np.linspace(-_REACH, _REACH, nodes)
