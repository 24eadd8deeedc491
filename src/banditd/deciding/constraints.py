"""Which of the operator's constraints apply to a query: rules that hold regardless of what is learned. Pure.

A constraint applies if all its conditions hold. It then masks arms (``core/constraint.py``) before the probabilities
are computed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from banditd.core.constraint import ArmConstraint
from banditd.core.types import FloatArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Conditions:
    """When a constraint applies: if all of its conditions hold. An empty condition holds always.

    found, detected : tests of the text, by pattern and by named detector; they need a text, as ``utterances`` need
    its embedding.
    tags : values that the query's tags must have.
    utterances : texts of which the query must resemble at least one. similarity : least cosine, in [-1, 1].
    embeddings : of the utterances, unit-norm float64 (n_utterances, d); see ``Constraint.embedded``.
    """

    found: Callable[[str], bool] | None = None
    detected: Callable[[str], bool] | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    utterances: tuple[str, ...] = ()
    similarity: float = 1.0
    embeddings: FloatArray | None = None

    def hold(self, text: str | None, tags: Mapping[str, str], embedding: FloatArray | None) -> bool:
        """Whether all conditions hold for a query. embedding : of its text, float64 (d,), or None."""
        if any(tags.get(tag) != value for tag, value in self.tags.items()):
            return False
        if any(text is None or not search(text) for search in self.searches):
            return False
        return not self.utterances or self._resembles(embedding)

    @property
    def searches(self) -> tuple[Callable[[str], bool], ...]:
        """All tests that look at the text."""
        return tuple(search for search in (self.found, self.detected) if search is not None)

    def _resembles(self, embedding: FloatArray | None) -> bool:
        known = self.embeddings
        if embedding is None or known is None or known.shape[1] != embedding.shape[0]:
            return False
        cosines = known @ embedding / max(float(np.linalg.norm(embedding)), 1e-12)
        return bool(cosines.max() >= self.similarity)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Constraint:
    """Conditions, and the rule about arms that applies when they hold."""

    arms: ArmConstraint
    when: Conditions

    def embedded(self, embeddings: FloatArray) -> Constraint:
        """The same constraint with the embeddings of its utterances, float64 (n_utterances, d)."""
        return replace(self, when=replace(self.when, embeddings=np.ascontiguousarray(embeddings)))
