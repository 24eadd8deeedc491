"""What judges and comparisons offer to the layer above."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from banditd.core.comparing import Better, ComparisonFilter


class Comparisons(Protocol):
    async def page(self, which: ComparisonFilter) -> Mapping[str, object]:
        """Newest decisions first. Raises NotFoundError for a judge that was never here."""

    async def lease(self, judge: str, limit: int, lease_s: float) -> Mapping[str, object]:
        """Claim pairs of a judge that clients call themselves. Raises NotFoundError, ConflictError."""

    async def result(
        self, task_id: str, lease: str, verdicts: tuple[Better, Better] | None, *, cost_usd: float
    ) -> Mapping[str, object]:
        """Take what was said of a pair as it was given, and of it in the other order; once, or the pair back (None).

        Raises NotFoundError, ConflictError.
        """


class Judges(Protocol):
    @property
    def comparisons(self) -> Comparisons:
        """Pairs of answers, and what was said of them."""

    async def judges(self) -> Mapping[str, object]:
        """Every configured judge and how it stands."""

    async def lease(self, judge: str, limit: int, lease_s: float) -> Mapping[str, object]:
        """Claim answers for a judge that clients call themselves. Raises NotFoundError, ConflictError."""

    async def result(
        self, task_id: str, lease: str, *, score: float | None, reason: str, cost_usd: float
    ) -> Mapping[str, object]:
        """Take a verdict once, or a task back (no score). Raises NotFoundError, ConflictError."""
