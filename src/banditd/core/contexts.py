"""The features of many queries as arrays, one row per query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from banditd.core.types import Context, FloatArray, IntArray


@dataclass(frozen=True, slots=True, eq=False)
class Contexts:
    """The features of several queries. x : float64 (n_queries, n_features). cluster : intp (n_queries,)."""

    x: FloatArray
    cluster: IntArray
    facts: Sequence[Mapping[str, float]]

    @classmethod
    def of(cls, contexts: Sequence[Context]) -> Contexts:
        """Stack contexts of one schema."""
        return cls(
            np.array([context.x for context in contexts]),
            np.array([context.cluster for context in contexts], dtype=np.intp),
            [context.facts for context in contexts],
        )

    def __len__(self) -> int:
        return int(self.x.shape[0])

    def take(self, rows: IntArray) -> Contexts:
        """The contexts of the given rows."""
        return Contexts(self.x[rows], self.cluster[rows], [self.facts[i] for i in rows.tolist()])
