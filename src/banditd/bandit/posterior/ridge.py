"""The learner's cache: the posterior kept current by rank-one updates, rebuilt from sums by Cholesky.

The sums (``statistics.py``) are the truth. This is a cache that refactorisation restores, so the error of rank-one
updates is bounded. Not thread-safe: owned by the single learner. What it returns (``posterior()``) is never written
again: a fold copies the matrices that a posterior still holds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from scipy.linalg.blas import dger
from scipy.linalg.lapack import dpotrf, dpotri

from banditd.bandit.posterior.posterior import Posterior
from banditd.bandit.posterior.statistics import ArmSums
from banditd.core.errors import InvariantError
from banditd.core.types import FloatArray

REFACTOR_AFTER: Final = 512  # rank-one updates between refactorisations


def spd_inverse(matrix: FloatArray) -> FloatArray:
    """Inverse of a symmetric positive definite matrix by Cholesky, in Fortran order.

    Raises
    ------
    InvariantError : not positive definite.
    """
    factor, info = dpotrf(matrix, lower=1, clean=1)
    if info != 0:
        raise InvariantError("A precision matrix is not positive definite.")
    inverse, info = dpotri(factor, lower=1, overwrite_c=1)
    if info != 0:
        raise InvariantError("A precision matrix is singular.")
    result: FloatArray = inverse + inverse.T  # the upper triangle was 0, so only the diagonal doubled
    result.ravel(order="K")[:: result.shape[0] + 1] *= 0.5
    return np.asfortranarray(result)


def run_through(pieces: Iterator[None]) -> None:
    """Run a job to its end that could be done in pieces."""
    deque(pieces, maxlen=0)


class Evidence:
    """One arm's contribution to the posterior: its discounted sums, its prior reward and its noise.

    sums : not a copy, so later folds are in them too.
    """

    __slots__ = ("centre", "noise", "prior_reward", "prior_worth", "sums")

    def __init__(
        self, sums: ArmSums, *, centre: float, noise: float, prior_reward: float, prior_worth: float
    ) -> None:
        self.sums = sums
        self.centre = centre
        self.noise = noise
        self.prior_reward = prior_reward
        self.prior_worth = prior_worth

    def precision(self) -> FloatArray:
        """S_a / s2_a with the prior reward's pseudo-observations on the bias: float64, shape (d, d)."""
        matrix = self.sums.gram / self.noise
        matrix[0, 0] += self.prior_worth / self.noise
        return matrix

    def pull(self) -> FloatArray:
        """b_a / s2_a about the centre, float64, shape (d,)."""
        vector = (self.sums.xr - self.centre * self.sums.gram[:, 0]) / self.noise
        vector[0] += self.prior_worth * (self.prior_reward - self.centre) / self.noise
        return vector


class PooledRidge:
    """Posterior of K arms under one prior; see ``posterior.py`` for the formulas.

    ``rebuild_arm`` only marks an arm: it is rebuilt once, when next needed, however many rewards were removed.

    own_variance, shared_variance : float64 (d,); ``shared_variance`` None gives independent arms.
    """

    def __init__(self, *, own_variance: FloatArray, shared_variance: FloatArray | None) -> None:
        self._centre = np.zeros(0)
        self.updates = 0
        self._own_precision = 1.0 / own_variance
        self._shared_precision = None if shared_variance is None else 1.0 / shared_variance
        d = own_variance.shape[0]
        self._inverse: list[FloatArray] = []
        self._pull: list[FloatArray] = []
        self._own = np.zeros((0, d))
        self._counts = np.zeros(0)
        self._noise = np.zeros(0)
        self._shared_spread: FloatArray | None = None  # V1^-1 Lambda^-1 V1^-1; Lambda^-1 alone is never needed
        self._shared_pull = np.zeros(d)  # V1^-1 m0
        self._lent_arms: set[int] = set()  # matrices that a posterior still holds
        self._lent_shared = False
        self._due: dict[int, Evidence] = {}  # arms to be rebuilt, from this
        self._shared_due = False

    def rebuilding(self, evidence: Sequence[Evidence]) -> Iterator[None]:
        """Refactorise everything from the sums, K + 1 Cholesky factorisations, in pieces of one arm each.

        Until the last one is done everything stays as it was; nothing may be folded in between.
        """
        d = self._own_precision.shape[0]
        inverses = []
        for arm in evidence:
            inverses.append(self._arm_inverse(arm))
            yield
        self._inverse = inverses
        self._pull = [arm.pull() for arm in evidence]
        self._own = np.zeros((len(evidence), d))
        for i, inverse in enumerate(self._inverse):
            self._own[i] = inverse @ self._pull[i]
        self._counts = np.array([arm.sums.n + arm.prior_worth for arm in evidence])
        self._noise = np.array([arm.noise for arm in evidence])
        self._centre = np.array([arm.centre for arm in evidence])
        self._lent_arms.clear()
        self._due.clear()
        self._refactor_shared()
        self.updates = 0

    def rebuild_arm(self, index: int, evidence: Evidence) -> None:
        """Mark an arm for refactorisation (after a subtraction, where rank-one updates are less accurate): O(1)
        now.
        """
        self._due[index] = evidence

    def settling(self) -> Iterator[None]:
        """Refactorise the marked arms, in pieces. Nothing may be folded in between."""
        while self._due:
            index, evidence = next(iter(self._due.items()))
            self._shared_due = True
            self._inverse[index] = self._arm_inverse(evidence)
            self._lent_arms.discard(index)
            self._pull[index] = evidence.pull()
            self._own[index] = self._inverse[index] @ self._pull[index]
            self._counts[index] = evidence.sums.n + evidence.prior_worth
            del self._due[index]
            yield
        if self._shared_due:
            self._refactor_shared()

    def fold(self, index: int, x: FloatArray, weight: float, reward: float) -> None:
        """Rank-one update for one reward with ``weight`` > 0 (already discounted): O(d^2).

        The reward is in the arm's sums already, so an arm marked for rebuilding needs no update.
        """
        if index in self._due:
            return
        inverse = self._inverse[index]
        precision = weight / float(self._noise[index])
        k = inverse @ x
        shrink = precision / (1.0 + precision * float(x @ k))
        if index in self._lent_arms:
            inverse = inverse.copy(order="F")
            self._lent_arms.discard(index)
        self._inverse[index] = dger(-shrink, k, k, a=inverse, overwrite_a=1)
        residual = reward - float(self._centre[index])
        self._pull[index] = self._pull[index] + (precision * residual) * x
        # A^-1 changes by -shrink k k', the pull by a multiple of x, and (new A^-1) x = k shrink / precision.
        gain = shrink * (residual - float(x @ self._own[index]))
        self._own[index] += gain * k
        self._counts[index] += 1.0
        self._fold_shared(k, shrink)
        self.updates += 1

    def predict(self, index: int, x: FloatArray) -> tuple[float, float]:
        """Posterior (mean, variance) of one arm's expected reward on ``x``, as ``posterior()`` has them: O(d^2)."""
        run_through(self.settling())
        k = self._inverse[index] @ x
        mean = float(self._centre[index] * x[0] + x @ self._own[index])
        variance = float(x @ k)
        if self._shared_spread is not None:
            mean += float(k @ self._shared_pull)
            variance += float(k @ self._shared_spread @ k)
        return mean, variance

    def coefficients(self, index: int) -> tuple[FloatArray, float]:
        """(coefficients, centre) of one arm: its expected reward on x is centre x[0] + x'coefficients."""
        run_through(self.settling())
        coefficients = self._own[index].copy()
        if self._shared_spread is not None:
            coefficients += self._inverse[index] @ self._shared_pull
        return coefficients, float(self._centre[index])

    def posterior(self) -> Posterior:
        """An immutable view; costs O(K d), since the matrices are shared until they change."""
        run_through(self.settling())
        self._lent_arms.update(range(len(self._inverse)))
        self._lent_shared = True
        return Posterior(
            centre=self._centre,
            inverse=tuple(self._inverse),
            own=self._own.copy(),
            shared_spread=self._shared_spread,
            shared_pull=self._shared_pull,
            counts=self._counts.copy(),
            noise=self._noise,
        )

    def inverse_error(self, evidence: Sequence[Evidence]) -> float:
        """Largest |A A^-1 - I| over the arms: the numerical error of the cache."""
        run_through(self.settling())
        worst = 0.0
        for inverse, arm in zip(self._inverse, evidence, strict=True):
            product = (arm.precision() + np.diag(self._own_precision)) @ inverse
            worst = max(worst, float(np.abs(product - np.eye(product.shape[0])).max()))
        return worst

    def _arm_inverse(self, evidence: Evidence) -> FloatArray:
        matrix = evidence.precision()
        matrix[np.diag_indices_from(matrix)] += self._own_precision
        return spd_inverse(matrix)

    def _refactor_shared(self) -> None:
        self._shared_due = False
        if self._shared_precision is None:
            return
        total = np.diag(self._shared_precision + len(self._inverse) * self._own_precision)
        outer = self._own_precision[:, None] * self._own_precision
        for inverse in self._inverse:
            total -= outer * inverse
        self._shared_spread = np.asfortranarray(outer * spd_inverse(total))
        self._lent_shared = False
        self._solve_shared_pull(self._shared_spread)

    def _fold_shared(self, k: FloatArray, shrink: float) -> None:
        """The rank-one update after an arm's inverse has decreased by ``shrink`` k k'."""
        spread = self._shared_spread
        if spread is None or self._due or self._shared_due:  # independent arms, or refactorised later anyway
            return
        lifted = spread @ k
        factor = shrink / (1.0 + shrink * float(k @ lifted))
        if self._lent_shared:
            spread = spread.copy(order="F")
            self._lent_shared = False
        self._shared_spread = dger(-factor, lifted, lifted, a=spread, overwrite_a=1)
        self._solve_shared_pull(self._shared_spread)

    def _solve_shared_pull(self, spread: FloatArray) -> None:
        self._shared_pull = spread @ self._own.sum(axis=0)
