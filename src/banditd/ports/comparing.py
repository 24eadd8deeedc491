"""What comparing keeps: pairs that wait, and what was said of each. Each method is one transaction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from banditd.core.comparing import Compared, ComparisonTask, Outcome
from banditd.core.judging import JudgeCost


class ComparisonStore(Protocol):
    async def lease(
        self, judge: str, *, limit: int, until_us: int, now_us: int, max_attempts: int
    ) -> list[ComparisonTask]:
        """Claim pairs that nobody holds now, oldest first, until then."""

    async def finish(
        self, task_id: str, lease: str, *, version: str, outcome: Outcome, cost: JudgeCost, now_us: int
    ) -> bool:
        """Keep what was said, delete the texts and book the cost, if the claim still stands."""

    async def give_back(
        self, task_id: str, lease: str, *, due_at_us: int, max_attempts: int, cost: JudgeCost, now_us: int
    ) -> bool:
        """A try has failed: the pair may be claimed again from then on, or is deleted after the last one."""

    async def drop(self, now_us: int) -> int:
        """Delete some pairs that waited too long, whoever's. Returns how many; 0 when there are no more."""

    async def compared(self, judge: str, version: str) -> list[Compared]:
        """Everything that a version has said, oldest first."""

    async def waiting(self) -> Mapping[str, int]:
        """Pairs in the queue by judge."""
