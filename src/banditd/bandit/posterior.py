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

from typing import Final, NamedTuple

import numpy as np

from banditd.core.types import FloatArray, IntArray

STACK_AFTER: Final = 8  # queries that a snapshot serves before its matrices are stacked


class Moments(NamedTuple):
    """Of the expected rewards of some arms on one context: float64, shape (n,) each.

    mean : posterior mean. variance : posterior variance, everything included.
    contrast : variance of the difference to the arm ``leader``, less the leader's own variance (for the
        leader: its own variance). What all arms have in common cannot decide between them and is left out.
    leader : index of the highest mean less penalty.
    """

    mean: FloatArray
    variance: FloatArray
    contrast: FloatArray
    leader: int


class Posterior:
    """Immutable by contract: whoever builds one never writes to the arrays again.

    centre : expected reward per arm before data, float64 (K,).
    inverse : A_a^-1 per arm, float64 (d, d), Fortran order. own : A_a^-1 b_a / s2_a, float64 (K, d).
    own_precision : diagonal of V1^-1, float64 (d,). shared_covariance : Lambda^-1, float64 (d, d), or None
    for disjoint arms. shared_mean : m0, float64 (d,). counts : effective number of rewards per arm, (K,).
    """

    __slots__ = ("_stacked", "_uses", "centre", "counts", "inverse", "noise", "own", "own_precision",
                 "shared_covariance", "shared_mean")  # fmt: skip

    def __init__(
        self,
        *,
        centre: FloatArray,
        inverse: tuple[FloatArray, ...],
        own: FloatArray,
        own_precision: FloatArray,
        shared_covariance: FloatArray | None,
        shared_mean: FloatArray,
        counts: FloatArray,
        noise: FloatArray,
    ) -> None:
        self.centre = centre
        self.inverse = inverse
        self.own = own
        self.own_precision = own_precision
        self.shared_covariance = shared_covariance
        self.shared_mean = shared_mean
        self.counts = counts
        self.noise = noise
        self._stacked: FloatArray | None = None
        self._uses = 0

    def moments(self, x: FloatArray, arms: IntArray, penalty: FloatArray) -> Moments:
        """Means and variances of ``arms`` on ``x``: O(n d^2).

        Parameters
        ----------
        x : float64, shape (d,). arms : intp, shape (n,). penalty : float64, shape (n,).
        """
        rows = self._inverse_products(x, arms)
        own_variance = rows @ x
        mean: FloatArray = (self.own @ x + self.centre * x[0])[arms]
        if self.shared_covariance is None:
            leader = int((mean - penalty).argmax())
            return Moments(mean, own_variance, own_variance, leader)
        rows *= self.own_precision
        mean += rows @ self.shared_mean
        leader = int((mean - penalty).argmax())
        projected = rows @ self.shared_covariance
        shared = np.vecdot(projected, rows)
        cross = projected @ rows[leader]
        variance: FloatArray = own_variance + shared
        cross *= -2.0
        cross += shared[leader]
        cross += variance
        return Moments(mean, variance, np.maximum(cross, 0.0, out=cross), leader)

    def _inverse_products(self, x: FloatArray, arms: IntArray) -> FloatArray:
        """A_a^-1 x of each arm in ``arms``, float64 (n, d).

        A snapshot that serves many queries stacks its matrices for one product in place of many; one that is
        replaced after each query (a replay) never pays for the copy.
        """
        k, d = len(self.inverse), x.shape[0]
        if self._stacked is None:
            self._uses += 1
            if self._uses > STACK_AFTER:
                self._stacked = np.concatenate(self.inverse)
        if self._stacked is not None and 2 * arms.shape[0] >= k:
            products: FloatArray = (self._stacked @ x).reshape(k, d)[arms]
            return products
        rows = np.empty((arms.shape[0], d))
        inverse, dot = self.inverse, np.dot
        for i, arm in enumerate(arms.tolist()):
            dot(inverse[arm], x, rows[i])
        return rows

    def coefficients(self) -> FloatArray:
        """Posterior mean of theta_a about its centre: float64, shape (K, d)."""
        if self.shared_covariance is None:
            return self.own.copy()
        prior_pull = self.own_precision * self.shared_mean
        return self.own + np.stack([inverse @ prior_pull for inverse in self.inverse])
