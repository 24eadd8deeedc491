"""Where candidates are kept. Each method is one transaction."""

from __future__ import annotations

from typing import Protocol

from banditd.core.candidate import Candidate


class CandidateStore(Protocol):
    async def add(self, candidate: Candidate) -> Candidate:
        """Keep it, unless the policy has one of that name. Returns the one that is kept."""

    async def list(self, policy: str) -> list[Candidate]:
        """Of a policy, oldest first."""

    async def get(self, policy: str, name: str) -> Candidate | None: ...

    async def delete(self, candidate_id: str) -> bool:
        """False where it is gone already."""
