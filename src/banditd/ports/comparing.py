"""The store of comparisons: waiting pairs, and the verdicts on them. Each method is one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from banditd.core.comparing import Compared, ComparisonFilter, ComparisonTask, Orders, StoredComparison
from banditd.core.judging import JudgeCost


class ComparisonStore(Protocol):
    async def lease(
        self, judge: str, *, limit: int, until_us: int, now_us: int, max_attempts: int
    ) -> list[ComparisonTask]:
        """Claim pairs that nobody holds now, oldest first, until then."""

    async def finish(
        self, task_id: str, lease: str, *, version: str, orders: Orders, cost: JudgeCost, now_us: int
    ) -> StoredComparison | None:
        """Keep what was said, delete the texts and book the cost, if the claim still stands; None where not."""

    async def give_back(
        self, task_id: str, lease: str, *, due_at_us: int, max_attempts: int, cost: JudgeCost, now_us: int
    ) -> bool:
        """A try has failed: the pair may be claimed again from then on, or is deleted after the last one."""

    async def drop(self, now_us: int) -> int:
        """Delete some pairs that waited too long, whoever's. Returns how many; 0 when there are no more."""

    async def compared(self, judge: str, version: str) -> list[Compared]:
        """Everything that a version has said, oldest first."""

    async def of_task(self, task_id: str) -> StoredComparison | None:
        """What a task became."""

    async def judge_of(self, task_id: str) -> str | None:
        """Whose a pair is that waits; None where none does."""

    async def page(self, which: ComparisonFilter) -> Sequence[StoredComparison]:
        """Newest decisions first; of the last one all of them, so that there may be some more than ``limit``."""

    async def waiting(self) -> Mapping[str, int]:
        """Pairs in the queue by judge."""
