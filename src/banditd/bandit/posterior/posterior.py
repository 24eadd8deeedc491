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
from scipy.linalg.blas import dgemv

from banditd.core.types import FloatArray, IntArray

STACK_AFTER: Final = 8  # queries that a snapshot serves before its matrices are stacked
_ZERO: Final = np.array(0.0)  # as arrays: numpy takes twice as long for plain numbers
_MINUS_TWO: Final = np.array(-2.0)


class Moments(NamedTuple):
    """Of the expected rewards of some arms on one context: float64, shape (n,) each.

    mean : posterior mean. utility : mean less penalty. variance : posterior variance, everything included.
    contrast : variance of the difference to the arm ``leader``, less the leader's own variance (for the
        leader: its own variance). What all arms have in common cannot decide between them and is left out.
    leader : index of the highest utility.
    """

    mean: FloatArray
    utility: FloatArray
    variance: FloatArray
    contrast: FloatArray
    leader: int


class Posterior:
    """Immutable by contract: whoever builds one never writes to the arrays again.

    centre : expected reward per arm before data, float64 (K,).
    inverse : A_a^-1 per arm, float64 (d, d), Fortran order. own : A_a^-1 b_a / s2_a, float64 (K, d).
    shared_spread : V1^-1 Lambda^-1 V1^-1, float64 (d, d), or None
    for disjoint arms. shared_pull : V1^-1 m0, float64 (d,). counts : effective number of rewards per arm, (K,).
    """

    __slots__ = ("_stacked", "_uses", "centre", "counts", "inverse", "noise", "own",
                 "shared_pull", "shared_spread")  # fmt: skip

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
        self._stacked: FloatArray | None = None
        self._uses = 0

    def moments(self, x: FloatArray, arms: IntArray, penalty: FloatArray) -> Moments:
        """Means and variances of ``arms`` on ``x``: O(n d^2).

        Parameters
        ----------
        x : float64, shape (d,). arms : intp, shape (n,). penalty : float64, shape (n,).
        """
        rows = self._inverse_products(x, arms)
        own_variance = rows.dot(x)
        bias = x.item(0)
        mean: FloatArray = self.own.dot(x)
        mean += self.centre if bias == 1.0 else bias * self.centre  # mostly 1, and every array operation counts
        mean = mean[arms]
        if self.shared_spread is None:
            utility = mean - penalty
            return Moments(mean, utility, own_variance, own_variance, int(utility.argmax()))
        mean += rows.dot(self.shared_pull)
        utility = mean - penalty
        leader = int(utility.argmax())
        projected = rows.dot(self.shared_spread)
        shared = np.vecdot(projected, rows)
        variance: FloatArray = own_variance + shared
        contrast = projected.dot(rows[leader])
        contrast *= _MINUS_TWO
        contrast += shared[leader]
        contrast += variance
        return Moments(mean, utility, variance, np.maximum(contrast, _ZERO, out=contrast), leader)

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
            products: FloatArray = self._stacked.dot(x).reshape(k, d)[arms]
            return products
        # Straight to BLAS: its call takes less than a product's of numpy, and by columns (trans) it is faster still.
        rows, inverse, start = np.zeros(arms.shape[0] * d), self.inverse, 0
        for arm in arms.tolist():
            dgemv(1.0, inverse[arm], x, 1.0, rows, 0, 1, start, 1, 1, 1)  # offx, incx, offy, incy, trans, overwrite
            start += d
        return rows.reshape(-1, d)

    def coefficients(self) -> FloatArray:
        """Posterior mean of theta_a about its centre: float64, shape (K, d)."""
        if self.shared_spread is None:
            return self.own.copy()
        return self.own + np.stack([inverse @ self.shared_pull for inverse in self.inverse])
