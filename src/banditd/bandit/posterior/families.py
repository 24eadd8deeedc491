"""Arms whose rewards are expected to resemble another arm's: a two-level tree in place of the star.

The model of an arm R that is like the arm a (letters of ``posterior.py``):

    theta_R = theta_a + eps_R,   eps_R ~ N(0, V2),   V2 = ``LIKENESS``^2 V1

So rewards of R tell about a and vice versa, and about R itself only the small eps_R has to be learned. With B_R = S_R
/ s2_R + V2^-1, integrating theta_R out leaves a message to theta_a:

    precision  V2^-1 - V2^-1 B_R^-1 V2^-1,   pull  V2^-1 B_R^-1 b_R / s2_R

which is added to the evidence of a. The arms that are like no other ("heads") then form a star as usual. A reward of
R changes its message by a rank-one term, so a fold is two rank-one updates.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, Protocol

import numpy as np
from scipy.linalg.blas import dger

from banditd.bandit.posterior.hyperparameters import Hyperparameters
from banditd.bandit.posterior.posterior import Moments, Posterior
from banditd.bandit.posterior.ridge import Evidence, PooledRidge, run_through, spd_inverse
from banditd.core.errors import ConfigurationError
from banditd.core.types import BoolArray, FeatureSchema, FloatArray, IntArray

# How far an arm is from the one it is like, relative to the distance between independent arms. On public pools a
# recipe that asks a good model when two cheap ones disagree is within a few hundredths of that model; models differ
# by a tenth.
LIKENESS: Final = 0.15


class Relative(Protocol):
    """An arm's name, and that of the arm it is like, if any."""

    @property
    def arm(self) -> str: ...

    @property
    def like(self) -> str | None: ...


def likenesses(arms: Sequence[Relative]) -> tuple[int | None, ...]:
    """For every arm the index of the arm it is like; None for an independent arm, or if that arm is missing.

    Raises
    ------
    ConfigurationError : an arm is like one that is itself like another, or like itself.
    """
    index = {arm.arm: i for i, arm in enumerate(arms) if arm.like is None}
    among = {arm.arm for arm in arms}
    for arm in arms:
        if arm.like in among and arm.like not in index:
            raise ConfigurationError(f"{arm.arm} cannot be like {arm.like}, which is like another arm itself.")
    return tuple(None if arm.like is None else index.get(arm.like) for arm in arms)


class _Joined(Evidence):
    """A head's evidence with the messages of the arms that are like it: (precision, pull) each."""

    __slots__ = ("messages",)

    def __init__(self, own: Evidence, messages: Sequence[tuple[FloatArray, FloatArray]]) -> None:
        super().__init__(
            own.sums, centre=own.centre, noise=own.noise, prior_reward=own.prior_reward, prior_worth=own.prior_worth
        )
        self.messages = messages

    def precision(self) -> FloatArray:
        return super().precision() + sum(precision for precision, _ in self.messages)

    def pull(self) -> FloatArray:
        return super().pull() + sum(pull for _, pull in self.messages)


class FamilyRidge:
    """``PooledRidge`` for arms some of which are like others; the same contract. Not thread-safe.

    own_variance, shared_variance : float64 (d,).
    like : for every arm the index of the head that it is like; None for a head.
    """

    def __init__(self, *, own_variance: FloatArray, shared_variance: FloatArray, like: Sequence[int | None]) -> None:
        self.updates = 0
        heads = [i for i, other in enumerate(like) if other is None]
        place = {arm: head for head, arm in enumerate(heads)}
        self._heads = PooledRidge(own_variance=own_variance, shared_variance=shared_variance)
        self._head = np.array([place[i if other is None else other] for i, other in enumerate(like)], dtype=np.intp)
        self._is_head = [other is None for other in like]
        self._precision = 1.0 / (LIKENESS**2 * own_variance)  # V2^-1
        self._inverse: dict[int, FloatArray] = {}  # B^-1 of the arms that are no heads
        self._own: dict[int, FloatArray] = {}  # B^-1 b / s2
        self._evidence: list[Evidence] = []
        self._counts = np.zeros(len(like))
        self._due: set[int] = set()  # arms to be rebuilt
        self._heads_due: set[int] = set()  # heads whose messages have changed

    def rebuilding(self, evidence: Sequence[Evidence]) -> Iterator[None]:
        """Refactorise everything from the sums in pieces, one arm each. Nothing may be folded in between."""
        self._evidence = list(evidence)
        self._counts = np.array([arm.sums.n + arm.prior_worth for arm in evidence])
        for i, arm in enumerate(evidence):
            if not self._is_head[i]:
                self._inverse[i], self._own[i] = self._solved(arm)
                yield
        yield from self._heads.rebuilding([self._joined(i) for i, head in enumerate(self._is_head) if head])
        self._due.clear()
        self._heads_due.clear()
        self.updates = 0

    def rebuild_arm(self, index: int, evidence: Evidence) -> None:
        """Mark an arm and its head for refactorisation: O(1) now."""
        self._evidence[index] = evidence
        self._due.add(index)

    def settling(self) -> Iterator[None]:
        """Refactorise the marked arms, in pieces. Nothing may be folded in between."""
        while self._due:
            index = next(iter(self._due))
            evidence = self._evidence[index]
            self._counts[index] = evidence.sums.n + evidence.prior_worth
            if not self._is_head[index]:
                self._inverse[index], self._own[index] = self._solved(evidence)
            self._heads_due.add(int(self._head[index]))
            self._due.remove(index)
            yield
        while self._heads_due:
            head = self._heads_due.pop()
            self._heads.rebuild_arm(head, self._joined(self._first(head)))
        yield from self._heads.settling()

    def fold(self, index: int, x: FloatArray, weight: float, reward: float) -> None:
        """One reward with ``weight`` > 0 (already discounted): O(d^2). See ``PooledRidge.fold``."""
        if index in self._due:
            return
        self.updates += 1
        self._counts[index] += 1.0
        head = int(self._head[index])
        if self._is_head[index]:
            self._heads.fold(head, x, weight, reward)
            return
        arm, inverse, own = self._evidence[index], self._inverse[index], self._own[index]
        precision = weight / arm.noise
        k = inverse @ x
        shrink = precision / (1.0 + precision * float(x @ k))
        residual = reward - arm.centre - float(x @ own)
        self._inverse[index] = dger(-shrink, k, k, a=inverse.copy(order="F"), overwrite_a=1)
        self._own[index] = own + (shrink * residual) * k
        # The message grows by precision ``shrink`` in the direction V2^-1 k, as if the head had been observed there.
        of_head = self._evidence[self._first(head)]
        self._heads.fold(head, self._precision * k, shrink * of_head.noise, residual + of_head.centre)

    def predict(self, index: int, x: FloatArray) -> tuple[float, float]:
        """Posterior (mean, variance) of one arm's expected reward on ``x``, as ``posterior()`` has them: O(d^2)."""
        run_through(self.settling())
        head = int(self._head[index])
        if self._is_head[index]:
            return self._heads.predict(head, x)
        k = self._inverse[index] @ x
        lifted = self._precision * k
        mean, variance = self._heads.predict(head, lifted)
        centres = self._evidence[index].centre * x[0] - self._evidence[self._first(head)].centre * lifted[0]
        return mean + float(centres) + float(x @ self._own[index]), variance + float(x @ k)

    def coefficients(self, index: int) -> tuple[FloatArray, float]:
        """(coefficients, centre) of one arm: its expected reward on x is centre x[0] + x'coefficients."""
        run_through(self.settling())
        found, centre = self._heads.coefficients(int(self._head[index]))
        if self._is_head[index]:
            return found, centre
        return self._own[index] + self._inverse[index] @ (self._precision * found), self._evidence[index].centre

    def posterior(self) -> Posterior:
        """An immutable view."""
        run_through(self.settling())
        return FamilyPosterior(
            self._heads.posterior(),
            head=self._head,
            inverse=dict(self._inverse),
            own=dict(self._own),
            precision=self._precision,
            evidence=self._evidence,
            counts=self._counts.copy(),
        )

    def inverse_error(self, evidence: Sequence[Evidence]) -> float:
        """Largest |B B^-1 - I| and |A A^-1 - I|: the numerical error of the cache."""
        run_through(self.settling())
        worst = 0.0
        for i, inverse in self._inverse.items():
            product = self._precision_of(evidence[i]) @ inverse
            worst = max(worst, float(np.abs(product - np.eye(product.shape[0])).max()))
        heads = [
            _Joined(evidence[i], [self._message(*self._solved(evidence[j])) for j in self._relatives(i)])
            for i, head in enumerate(self._is_head)
            if head
        ]
        return max(worst, self._heads.inverse_error(heads))

    def _first(self, head: int) -> int:
        """The arm that is that head."""
        return next(i for i, one in enumerate(self._head) if one == head and self._is_head[i])

    def _relatives(self, index: int) -> list[int]:
        """The arms that are like that head."""
        return [i for i in np.flatnonzero(self._head == self._head[index]).tolist() if not self._is_head[i]]

    def _precision_of(self, arm: Evidence) -> FloatArray:
        """B of an arm that is like another."""
        matrix = arm.precision()
        matrix[np.diag_indices_from(matrix)] += self._precision
        return matrix

    def _solved(self, arm: Evidence) -> tuple[FloatArray, FloatArray]:
        """(B^-1, B^-1 b / s2)."""
        inverse = spd_inverse(self._precision_of(arm))
        return inverse, inverse @ arm.pull()

    def _message(self, inverse: FloatArray, own: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(precision, pull) that an arm with this B^-1 and B^-1 b / s2 brings to its head."""
        lifted = self._precision[:, None] * inverse * self._precision
        return np.diag(self._precision) - lifted, self._precision * own

    def _joined(self, index: int) -> Evidence:
        """A head's evidence and what those that are like it say of it."""
        found = [self._message(self._inverse[i], self._own[i]) for i in self._relatives(index)]
        return _Joined(self._evidence[index], found) if found else self._evidence[index]


class FamilyPosterior(Posterior):
    """The posterior of a ``FamilyRidge``. Immutable by contract.

    heads : posterior of the heads alone. head : intp (K,), the head of every arm.
    inverse, own : B^-1 and B^-1 b / s2 of the arms that are like another, by index.
    precision : V2^-1, float64 (d,).
    """

    def __init__(
        self,
        heads: Posterior,
        *,
        head: IntArray,
        inverse: dict[int, FloatArray],
        own: dict[int, FloatArray],
        precision: FloatArray,
        evidence: Sequence[Evidence],
        counts: FloatArray,
    ) -> None:
        self.heads = heads
        self.counts = counts
        self.noise = np.array([arm.noise for arm in evidence])
        self.centre = np.array([arm.centre for arm in evidence])
        self._head, self._inverse, self._own, self._like_precision = head, inverse, own, precision
        spread = heads.shared_spread
        self._spread = np.zeros((precision.size, precision.size)) if spread is None else spread

    def moments(self, x: FloatArray, penalty: FloatArray, allowed: BoolArray) -> Moments:
        """See ``Posterior.moments``; a relative's contrast to the leader leaves out what both inherit."""
        n, d = x.shape
        k = self._head.shape[0]
        lifted = np.repeat(x[:, None, :], k, axis=1)  # where the head is looked at for each arm
        mean = x[:, :1] * self.centre
        alone = np.zeros((n, k))
        for i, inverse in self._inverse.items():
            rows = x @ inverse.T
            alone[:, i] = np.vecdot(rows, x)
            mean[:, i] += x @ self._own[i]
            lifted[:, i] = rows * self._like_precision
        rows = np.empty((n, k, d))
        for i, head in enumerate(self._head.tolist()):
            rows[:, i] = lifted[:, i] @ self.heads.inverse[head].T
        mean += np.vecdot(lifted, self.heads.own[self._head])
        family = np.vecdot(rows, lifted)
        mean += rows @ self.heads.shared_pull
        utility = mean - penalty
        lead = np.arange(n), np.where(allowed, utility, -np.inf).argmax(1)
        projected = rows @ self._spread
        shared = np.vecdot(projected, rows)
        variance = alone + family + shared
        contrast = variance + shared[lead][:, None] - 2.0 * np.vecdot(projected, rows[lead][:, None, :])
        inherited = family[lead][:, None] - 2.0 * np.vecdot(lifted, rows[lead][:, None, :])
        relative = self._head == self._head[lead[1]][:, None]
        relative[lead] = False
        contrast = np.where(relative, contrast + inherited, contrast)
        return Moments(mean, utility, variance, np.maximum(contrast, 0.0))

    def predict(self, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        shape = (x.shape[0], self._head.shape[0])
        found = self.moments(x, np.zeros(shape), np.ones(shape, dtype=bool))
        return found.mean, np.sqrt(found.variance)

    def combined_variance(self, rows: FloatArray) -> FloatArray:
        """See ``Posterior.combined_variance``."""
        of_heads = np.zeros((len(self.heads.inverse), *rows.shape[1:]))
        alone = np.zeros(rows.shape[1])
        for i, head in enumerate(self._head.tolist()):
            inverse = self._inverse.get(i)
            if inverse is None:
                of_heads[head] += rows[i]
                continue
            pulled = rows[i] @ inverse.T
            alone += np.vecdot(pulled, rows[i])
            of_heads[head] += pulled * self._like_precision
        return alone + self.heads.combined_variance(of_heads)

    def coefficients(self) -> FloatArray:
        """Posterior mean of theta_a about its centre: float64, shape (K, d)."""
        found = self.heads.coefficients()[self._head]
        for i, inverse in self._inverse.items():
            found[i] = self._own[i] + inverse @ (self._like_precision * found[i])
        return found


def ridge_of(
    scales: Hyperparameters, schema: FeatureSchema, *, pooled: bool, like: Sequence[int | None]
) -> PooledRidge | FamilyRidge:
    """The ridge of these arms before any evidence. Not ``pooled``: every arm is independent."""
    own, shared = scales.averaged_variance(schema), scales.shared_variance(schema)
    if not pooled:  # each arm's prior is as wide as the shared and its own part together
        return PooledRidge(own_variance=own + shared, shared_variance=None)
    if any(other is not None for other in like):
        return FamilyRidge(own_variance=own, shared_variance=shared, like=like)
    return PooledRidge(own_variance=own, shared_variance=shared)
