"""Have the queries changed? A comparison of the contexts of late with those before. It knows no rewards.

Where traffic moves from one task to another, arms fail (or shine) at what they were not asked before. Their rewards
then differ from what was predicted, though no arm has changed. The mean context over a short memory (f contexts,
exponential) is compared with that over a long one (s contexts), column by column, in units of what chance makes of
the difference:

    drift = mean_j (fast_j - slow_j)^2 / (var_j c),  c = 1/(2 f - 1) + 1/(2 s - 1) - 2/(f + s - 1),

the variances of both means less twice their covariance. It is about 1 while contexts come from one distribution,
whatever that is. A stream of nearly equal queries has hardly any variance, and what differs a little there is no
other task: a difference of less than a hundredth of the contexts' mean square counts nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from banditd.core.types import FloatArray

FAST: Final = 50.0  # contexts that "of late" reaches back
SLOW: Final = 500.0  # and "before"
LEAST: Final = 100  # contexts, below which nothing is said
# Drift from which the queries have changed. Shuffled streams of six public sets reach 1.9 to 3.6 in thousands of
# queries; where one task follows another it is mostly 10 to 100, and above 4 after a handful of queries.
MOVED: Final = 4.0
MATERIAL: Final = 0.01  # of the contexts' mean square
CHANCE: Final = 1.0 / (2.0 * FAST - 1.0) + 1.0 / (2.0 * SLOW - 1.0) - 2.0 / (FAST + SLOW - 1.0)
_VARIES: Final = 1e-9  # variance from which a column is compared


class QueryDrift:
    """Takes one context at a time."""

    __slots__ = ("_fast", "_slow", "_square", "seen")

    def __init__(self, n_features: int) -> None:
        self.seen = 0
        self._fast = np.zeros(n_features)
        self._slow = np.zeros(n_features)
        self._square = np.zeros(n_features)  # mean of x_j^2 over the long memory

    def add(self, x: FloatArray) -> None:
        """Take one context, float64, shape (n_features,): O(n_features)."""
        self.seen += 1
        step = 1.0 / min(self.seen, SLOW)
        self._fast += (x - self._fast) / min(self.seen, FAST)
        self._slow += step * (x - self._slow)
        self._square += step * (x * x - self._square)

    @property
    def height(self) -> float:
        """The statistic; 0 while too little was seen, and where the difference is immaterial."""
        if self.seen < LEAST:
            return 0.0
        away = (self._fast - self._slow) ** 2
        variance = self._square - self._slow**2
        varies = variance > _VARIES
        if not varies.any() or away.sum() < MATERIAL * self._square.sum():
            return 0.0
        return float((away[varies] / variance[varies]).mean()) / CHANCE

    @property
    def moved(self) -> bool:
        """Whether the queries of late are others than those before."""
        return self.height >= MOVED

    def to_list(self) -> list[Any]:
        return [self.seen, self._fast.tolist(), self._slow.tolist(), self._square.tolist()]

    @classmethod
    def from_list(cls, values: Sequence[Any]) -> QueryDrift:
        """Inverse of ``to_list``."""
        drift = cls(len(values[1]))
        drift.seen = int(values[0])
        drift._fast, drift._slow, drift._square = (np.array(v, dtype=float) for v in values[1:])
        return drift
