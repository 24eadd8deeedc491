"""Have the queries changed? Compares recent contexts with earlier ones. It does not look at rewards.

If traffic moves from one task to another, arms fail (or shine) at queries they were not asked before. Their rewards
then differ from the predictions, though no arm has changed. The mean context over a short memory (f contexts,
exponential) is compared with that over a long one (s contexts), column by column, in units of the difference expected
by chance:

    drift = mean_j (fast_j - slow_j)^2 / (var_j c k),  c = 1/(2 f - 1) + 1/(2 s - 1) - 2/(f + s - 1),

where c is the variance of both means minus twice their covariance. It is about 1 while contexts come from one
distribution, whatever that is. Turns of a conversation and retries are alike, so k contexts count as one: k is how
much more the means of consecutive batches differ than those of independent contexts would, as the lower quartile over
the last batches, at least 1. A change of task affects one batch, or with short tasks many, but not most.

A stream of nearly equal queries has hardly any variance, and small differences in it are not another task: a
difference of less than a hundredth of the contexts' mean square counts as none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from banditd.core.types import FloatArray

FAST: Final = 50.0  # memory of the recent mean, in contexts
SLOW: Final = 500.0  # memory of the long mean
LEAST: Final = 100  # contexts needed for a result
# Drift from which the queries count as changed. Shuffled streams of six public sets reach 2 to 4 in thousands of
# queries; where one task follows another the median is 7 to 17 (``python -m bench.drift``).
MOVED: Final = 4.0
MATERIAL: Final = 0.01  # of the contexts' mean square
BATCH: Final = 25  # contexts
BATCHES: Final = 16  # number of batches over which the quartile is taken
LEAST_BATCHES: Final = 4
CHANCE: Final = 1.0 / (2.0 * FAST - 1.0) + 1.0 / (2.0 * SLOW - 1.0) - 2.0 / (FAST + SLOW - 1.0)
_VARIES: Final = 1e-9  # columns with less variance are not compared


class QueryDrift:
    """The test; takes one context at a time."""

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
        """How many contexts count as one independent one, >= 1; 1 while too little has been seen."""
        if len(self._ratios) < LEAST_BATCHES:
            return 1.0
        return max(1.0, sorted(self._ratios)[len(self._ratios) // 4])

    @property
    def height(self) -> float:
        """The statistic; 0 while too little has been seen."""
        if self.seen < LEAST:
            return 0.0
        return self._in_variances((self._fast - self._long[0]) ** 2) / (CHANCE * self.dependence)

    @property
    def moved(self) -> bool:
        """Whether the recent queries differ from earlier ones."""
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
