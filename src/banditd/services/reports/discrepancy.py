"""How far a cluster's mean reward may be from the linear model's value at the cluster's mean context.

The posterior's own deviation takes the model as exact. Real clusters are not linear in the features, and their
rewards do not all scatter alike, so intervals of plus and minus two deviations contain the truth too rarely. Two
effects widen (or narrow) them here, for reports only; choosing between arms never uses them.

Consider a cell (an arm in a cluster) with n rewards of total weight W and mean y, model mean m and deviation s, and
noise s2. The share of its own rewards in the model's estimate is about u = s^2 W / s2 (in [0, 1)), so that y - m is
(1 - u) (y - what the model would say without the cell). With a variance v of the cell's own scatter and a model
discrepancy N(0, d) per cell (Kennedy and O'Hagan 2001, Bayesian calibration of computer models, section 4.1):

    var(y - m)     = (1 - u) s2 / W + (1 - u)^2 ((v - s2) / W + d)
    var(truth - m) = s^2 + u^2 (v - s2) / W + (1 - u)^2 d

The first equation is used to learn d from all cells together, as its mean over a flat prior on a grid; the second is
the answer. Where the model holds, d is near 0 and the answer near s^2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from banditd.core.types import FloatArray

# Standard deviations 0 and 0.003 to 0.32, flat in the logarithm.
_GRID: Final[FloatArray] = np.concatenate([np.zeros(1), np.geomspace(1e-5, 0.1, 60)])
_PRIOR_COUNT: Final = 8.0  # rewards that the arm's noise is worth when estimating a cell's own scatter
_LARGEST_SHARE: Final = 0.99


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """The observed rewards, float64, shape (n_clusters, n_arms) each.

    weight : sum of w. reward : sum of w r. Both as the posterior counts them today.
    count : number of rewards. scatter : sum of w (r - mean)^2 about the cell's own mean. Both over the log's life.
    """

    weight: FloatArray
    reward: FloatArray
    count: FloatArray
    scatter: FloatArray


def cell_deviation(mean: FloatArray, deviation: FloatArray, noise: FloatArray, cells: Cells) -> FloatArray:
    """Standard deviation of every cell's true mean reward around the model's.

    Parameters
    ----------
    mean, deviation : float64, shape (n_clusters, n_arms), of ``Snapshot.predict``.
    noise : float64, shape (n_arms,), variance s2 of a reward of weight 1, > 0.

    Returns
    -------
    float64, shape (n_clusters, n_arms).
    """
    weight = np.maximum(cells.weight, 1e-12)
    own = (_PRIOR_COUNT * noise + cells.scatter) / (_PRIOR_COUNT + np.maximum(cells.count - 1.0, 0.0))
    share = np.clip(deviation**2 * cells.weight / noise, 0.0, _LARGEST_SHARE)
    excess = np.where(cells.weight > 0.0, (own - noise) / weight, 0.0)
    seen = cells.weight > 0.0
    rest = 1.0 - share
    expected = np.maximum((rest * noise / weight + rest**2 * excess)[seen], 1e-12)
    found = (cells.reward / weight - mean)[seen]
    discrepancy = _discrepancy(found**2, expected, rest[seen] ** 2)
    variance = deviation**2 + share**2 * excess + rest**2 * discrepancy
    result: FloatArray = np.sqrt(np.maximum(variance, 0.0))
    return result


def _discrepancy(squares: FloatArray, expected: FloatArray, gain: FloatArray) -> float:
    """Mean of d given residuals of variance ``expected + gain d`` and their squares; 0 without any."""
    if squares.size == 0:
        return 0.0
    variance = expected + gain * _GRID[:, None]
    score = -0.5 * (np.log(variance) + squares / variance).sum(axis=1)
    likelihood = np.exp(score - score.max())
    return float(likelihood @ _GRID / likelihood.sum())
