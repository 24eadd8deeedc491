"""The stores of candidates and their shadows. Each method is a transaction; sums are written with the learner's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from banditd.core.candidate import Candidate
from banditd.core.shadow import Shadow, ShadowRow
from banditd.core.types import FloatArray


class CandidateStore(Protocol):
    async def add(self, candidate: Candidate) -> Candidate:
        """Keep it, unless the policy has one of that name. Returns the one that is kept."""

    async def list(self, policy: str) -> list[Candidate]:
        """Of a policy, oldest first."""

    async def get(self, policy: str, name: str) -> Candidate | None: ...

    async def delete(self, candidate_id: str) -> bool:
        """False where it is gone already."""


class ShadowStore(Protocol):
    async def start(self, shadow: Shadow) -> list[str]:
        """Shadow a candidate; from where it stopped, if it was shadowed before.

        Returns the names of the candidates of its policy that take all places; none where it is done.
        """

    async def stop(self, candidate_id: str, *, at_us: int) -> None:
        """Count no further; what was counted stays."""

    async def begin_anew(self, shadow: Shadow, *, instead_of: str) -> bool:
        """Put a running shadow in the place of that one, whose sums go. False where that one is gone or stopped."""

    async def of_policy(self, policy: str) -> list[tuple[Candidate, Shadow]]:
        """Those that run and those that have stopped, in the order of their start."""

    async def of_candidates(self, candidate_ids: Sequence[str]) -> Mapping[str, Shadow]:
        """By candidate."""

    async def sums(self, shadow_ids: Sequence[str]) -> Mapping[str, Mapping[str, FloatArray]]:
        """By shadow and part."""

    async def rows(self, decision_ids: Sequence[str]) -> Mapping[str, ShadowRow]:
        """Those that are kept, by decision."""

    async def forget_rows(self, limit: int) -> int:
        """Delete rows of policies that have no shadow any more; how many."""
