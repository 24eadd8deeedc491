"""Have the queries changed? A comparison of the contexts of late with those before. It knows no rewards.

Where traffic moves from one task to another, arms fail (or shine) at what they were not asked before. Their rewards
then differ from what was predicted, though no arm has changed. The mean context over a short memory (f contexts,
exponential) is compared with that over a long one (s contexts):

    drift = |fast - slow|^2 / mean |x|^2        in [0, 4]

It is measured against the contexts' own size and not against their variance: a stream of nearly equal queries has
hardly any, and what differs a little there is no other task. By chance it is at most about 1/(2 f - 1) +
1/(2 s - 1) - 2/(f + s - 1) = 0.007: the variances of both means, less twice their covariance.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from banditd.core.types import FloatArray

FAST: Final = 50.0  # contexts that "of late" reaches back
SLOW: Final = 500.0  # and "before"
LEAST: Final = 100  # contexts, below which nothing is said
# Drift from which the queries have changed. Shuffled streams of six public sets reach 0.013 to 0.021 in thousands of
# queries; where one task follows another it is mostly 0.05 to 0.4.
MOVED: Final = 0.03


class QueryDrift:
    """Takes one context at a time."""

    __slots__ = ("_fast", "_slow", "_square", "seen")

    def __init__(self, n_features: int) -> None:
        self.seen = 0
        self._fast = np.zeros(n_features)
        self._slow = np.zeros(n_features)
        self._square = 0.0  # mean of |x|^2 over the long memory

    def add(self, x: FloatArray) -> None:
        """Take one context, float64, shape (n_features,): O(n_features)."""
        self.seen += 1
        step = 1.0 / min(self.seen, SLOW)
        self._fast += (x - self._fast) / min(self.seen, FAST)
        self._slow += step * (x - self._slow)
        self._square += step * (float(x @ x) - self._square)

    @property
    def height(self) -> float:
        """The statistic; 0 while too little was seen."""
        if self.seen < LEAST or self._square <= 0.0:
            return 0.0
        away = self._fast - self._slow
        return float(away @ away) / self._square

    @property
    def moved(self) -> bool:
        """Whether the queries of late are others than those before."""
        return self.height >= MOVED

    def to_list(self) -> list[Any]:
        return [self.seen, self._square, self._fast.tolist(), self._slow.tolist()]

    @classmethod
    def from_list(cls, values: Sequence[Any]) -> QueryDrift:
        """Inverse of ``to_list``."""
        drift = cls(len(values[2]))
        drift.seen, drift._square = int(values[0]), float(values[1])
        drift._fast, drift._slow = (np.array(v, dtype=float) for v in values[2:])
        return drift
