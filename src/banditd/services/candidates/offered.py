"""What candidates and evaluations offer to the layer above."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from banditd.core.cases import ScoredCase
from banditd.core.evaluation import IntervalKind, Method


class Candidates(Protocol):
    async def create(
        self,
        policy: str,
        name: str,
        *,
        settings: Mapping[str, object],
        arms: Mapping[str, Mapping[str, object]],
        key_name: str | None = None,
    ) -> tuple[Mapping[str, object], bool]:
        """(the candidate, whether it is new). Raises NotFoundError, InvalidInputError, ConflictError."""

    async def list(self, policy: str) -> Mapping[str, object]:
        """Raises NotFoundError."""

    async def get(self, policy: str, name: str) -> Mapping[str, object]:
        """Raises NotFoundError."""

    async def shadow(self, policy: str, name: str, *, running: bool) -> Mapping[str, object]:
        """Shadow a candidate, or stop. Raises NotFoundError, InvalidInputError, ConflictError."""

    async def delete(self, policy: str, name: str) -> None:
        """Raises NotFoundError, ConflictError."""


class Evaluations(Protocol):
    async def ask(
        self,
        policy: str,
        candidate: str,
        *,
        against: str,
        since_us: int | None,
        until_us: int | None,
        margin: float,
        interval: IntervalKind,
        method: Method = "log",
        cases: Sequence[ScoredCase] | None = None,
        key_name: str | None = None,
    ) -> Mapping[str, object]:
        """Begin an evaluation from the log, or do one of cases or of a shadow.

        Raises NotFoundError, InvalidInputError, ConflictError.
        """

    async def list(self, policy: str | None, candidate: str | None, limit: int) -> Mapping[str, object]:
        """Newest first. Raises NotFoundError (policy)."""

    async def get(self, evaluation_id: str) -> Mapping[str, object]:
        """Raises NotFoundError."""
