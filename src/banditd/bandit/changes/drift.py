"""Have the queries changed? A comparison of the contexts of late with those before. It knows no rewards.

Where traffic moves from one task to another, arms fail (or shine) at what they were not asked before. Their rewards
then differ from what was predicted, though no arm has changed. The mean context over a short memory (f contexts,
exponential) is compared with that over a long one (s contexts), column by column, in units of what chance makes of
the difference:

    drift = mean_j (fast_j - slow_j)^2 / (var_j c k),  c = 1/(2 f - 1) + 1/(2 s - 1) - 2/(f + s - 1),

the variances of both means less twice their covariance. It is about 1 while contexts come from one distribution,
whatever that is. Turns of a conversation and retries are alike, so k contexts tell as much as one: k is how much
further the means of one batch and the next lie apart than those of independent contexts would, the lower quartile of
the last batches, at least 1. A change of task is in one batch; where tasks are short it is in many, not in most.

A stream of nearly equal queries has hardly any variance, and what differs a little there is no other task: a
difference of less than a hundredth of the contexts' mean square is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from banditd.core.types import FloatArray

FAST: Final = 50.0  # contexts that "of late" reaches back
SLOW: Final = 500.0  # and "before"
LEAST: Final = 100  # contexts, below which nothing is said
# Drift from which the queries have changed. Shuffled streams of six public sets reach 2 to 4 in thousands of queries;
# where one task follows another it is 7 to 17 at the median (``python -m bench.drift``).
MOVED: Final = 4.0
MATERIAL: Final = 0.01  # of the contexts' mean square
BATCH: Final = 25  # contexts
BATCHES: Final = 16  # that the quartile is taken of
LEAST_BATCHES: Final = 4
CHANCE: Final = 1.0 / (2.0 * FAST - 1.0) + 1.0 / (2.0 * SLOW - 1.0) - 2.0 / (FAST + SLOW - 1.0)
_VARIES: Final = 1e-9  # variance from which a column is compared


class QueryDrift:
    """Takes one context at a time."""

    __slots__ = ("_batch", "_fast", "_last", "_long", "_ratios", "seen")

    def __init__(self, n_features: int) -> None:
        self.seen = 0
        self._fast = np.zeros(n_features)
        self._long = np.zeros((2, n_features))  # means of x_j and of x_j^2 over the long memory
        self._batch = np.zeros(n_features)  # sum of the batch that is being filled
        self._last = np.zeros(n_features)  # mean of the batch before
        self._ratios: list[float] = []

    def add(self, x: FloatArray) -> None:
        """Take one context, float64, shape (n_features,): O(n_features)."""
        self.seen += 1
        away = x - self._fast
        away *= 1.0 / min(self.seen, FAST)
        self._fast += away
        step = 1.0 / min(self.seen, SLOW)
        self._long *= 1.0 - step
        now = np.array((x, x * x))
        now *= step
        self._long += now
        self._batch += x
        if self.seen % BATCH == 0:
            self._end_batch()

    @property
    def dependence(self) -> float:
        """How many contexts tell as much as one, >= 1; 1 while too little was seen."""
        if len(self._ratios) < LEAST_BATCHES:
            return 1.0
        return max(1.0, sorted(self._ratios)[len(self._ratios) // 4])

    @property
    def height(self) -> float:
        """The statistic; 0 while too little was seen."""
        if self.seen < LEAST:
            return 0.0
        return self._in_variances((self._fast - self._long[0]) ** 2) / (CHANCE * self.dependence)

    @property
    def moved(self) -> bool:
        """Whether the queries of late are others than those before."""
        away = float(((self._fast - self._long[0]) ** 2).sum())
        return self.height >= MOVED and away >= MATERIAL * float(self._long[1].sum())

    def to_list(self) -> list[Any]:
        vectors = (self._fast, *self._long, self._batch, self._last)
        return [self.seen, list(self._ratios), *(vector.tolist() for vector in vectors)]

    @classmethod
    def from_list(cls, values: Sequence[Any]) -> QueryDrift:
        """Inverse of ``to_list``."""
        seen, ratios, *vectors = values
        drift = cls(len(vectors[0]))
        drift.seen, drift._ratios = int(seen), [float(ratio) for ratio in ratios]
        drift._fast, slow, square, drift._batch, drift._last = (np.array(vector, dtype=float) for vector in vectors)
        drift._long = np.array((slow, square))
        return drift

    def _in_variances(self, squares: FloatArray) -> float:
        """Mean over the columns of squares / variance; 0 where nothing varies."""
        slow, square = self._long
        variance = square - slow**2
        varies = variance > _VARIES
        return float((squares[varies] / variance[varies]).mean()) if varies.any() else 0.0

    def _end_batch(self) -> None:
        mean = self._batch / BATCH
        if self.seen > BATCH:
            ratio = self._in_variances((mean - self._last) ** 2) * BATCH / 2.0
            self._ratios = [*self._ratios, ratio][-BATCHES:]
        self._last = mean
        self._batch = np.zeros_like(mean)
