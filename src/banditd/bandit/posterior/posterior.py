"""The posterior of all arms at one moment, immutable: means and variances of rewards on a context.

Model and letters: ``hyperparameters.py``. Given the sums S_a, b_a (about the centre) of every arm:

    A_a      = S_a / s2_a + V1^-1                      (V1 is never discounted)
    theta_a  | beta ~ N(A_a^-1 (b_a / s2_a + V1^-1 beta), A_a^-1)
    Lambda   = V0^-1 + sum_a (V1^-1 - V1^-1 A_a^-1 V1^-1)
    beta     ~ N(m0, Lambda^-1),  m0 = Lambda^-1 sum_a V1^-1 A_a^-1 b_a / s2_a

by integrating delta_a out (a Schur complement of the joint precision). This is the linear mixed model
(Lindley and Smith 1972, Bayes estimates for the linear model); LinUCB's hybrid model is its special case.
"""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import numpy as np

from banditd.core.types import BoolArray, FloatArray


class Moments(NamedTuple):
    """Of the expected rewards of all arms on some queries: float64, shape (n_queries, n_arms) each.

    mean : posterior mean. utility : mean less penalty. variance : posterior variance, everything included.
    contrast : variance of the difference to the arm of the highest utility among the allowed, less that arm's own
        variance (for itself: its own variance). What all arms have in common cannot decide between them and is left
        out.
    """

    mean: FloatArray
    utility: FloatArray
    variance: FloatArray
    contrast: FloatArray


class Posterior:
    """Immutable by contract: whoever builds one never writes to the arrays again.

    centre : expected reward per arm before data, float64 (K,).
    inverse : A_a^-1 per arm, float64 (d, d), Fortran order. own : A_a^-1 b_a / s2_a, float64 (K, d).
    shared_spread : V1^-1 Lambda^-1 V1^-1, float64 (d, d), or None
    for disjoint arms. shared_pull : V1^-1 m0, float64 (d,). counts : effective number of rewards per arm, (K,).
    """

    def __init__(
        self,
        *,
        centre: FloatArray,
        inverse: tuple[FloatArray, ...],
        own: FloatArray,
        shared_spread: FloatArray | None,
        shared_pull: FloatArray,
        counts: FloatArray,
        noise: FloatArray,
    ) -> None:
        self.centre = centre
        self.inverse = inverse
        self.own = own
        self.shared_spread = shared_spread
        self.shared_pull = shared_pull
        self.counts = counts
        self.noise = noise

    @cached_property
    def abreast(self) -> FloatArray:
        """The inverses (symmetric) beside each other, float64 (d, K d), row by row: one product in place of many."""
        return np.concatenate(self.inverse, axis=1).copy("C")

    def moments(self, x: FloatArray, penalty: FloatArray, allowed: BoolArray) -> Moments:
        """Means and variances of all arms on every query: O(n K d^2).

        Parameters
        ----------
        x : float64, shape (n, d). penalty : float64, allowed : bool, at least one arm of each query; shape (n, K).
        """
        n, d = x.shape
        rows = (x @ self.abreast).reshape(n, -1, d)  # A_a^-1 x
        variance = np.vecdot(rows, x[:, None, :])
        mean = x @ self.own.T + x[:, :1] * self.centre
        if self.shared_spread is None:
            return Moments(mean, mean - penalty, variance, variance)
        mean += rows @ self.shared_pull
        utility = mean - penalty
        lead = np.arange(n), np.where(allowed, utility, -np.inf).argmax(1)
        projected = (rows.reshape(-1, d) @ self.shared_spread).reshape(rows.shape)  # one product, not n
        shared = np.vecdot(projected, rows)
        variance = variance + shared
        contrast = variance + shared[lead][:, None] - 2.0 * np.vecdot(projected, rows[lead][:, None, :])
        return Moments(mean, utility, variance, np.maximum(contrast, 0.0))

    def predict(self, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(mean, standard deviation) of the expected reward of every arm: float64 (n, K) each, for x (n, d)."""
        shape = (x.shape[0], self.own.shape[0])
        found = self.moments(x, np.zeros(shape), np.ones(shape, dtype=bool))
        return found.mean, np.sqrt(found.variance)

    def combined_variance(self, rows: FloatArray) -> FloatArray:
        """Posterior variance of sums over arms of rows_a' theta_a: float64 (m,), for rows (K, m, d).

        All m sums as one product each, with all covariances between the arms.
        """
        pulled = np.matmul(rows, np.stack(self.inverse))  # A_a^-1 rows_a
        variance: FloatArray = np.vecdot(pulled, rows).sum(axis=0)
        if self.shared_spread is not None:
            total = pulled.sum(axis=0)
            variance = variance + np.vecdot(total @ self.shared_spread, total)
        return variance

    def coefficients(self) -> FloatArray:
        """Posterior mean of theta_a about its centre: float64, shape (K, d)."""
        if self.shared_spread is None:
            return self.own.copy()
        return self.own + np.stack([inverse @ self.shared_pull for inverse in self.inverse])
