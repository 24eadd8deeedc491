"""The store of golden sets: a day's cases, accounts, and the tests. Each method is one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from banditd.core.golden import GoldenCase, GoldenRule, GoldenWatch
from banditd.core.judging import JudgeCost


class GoldenStore(Protocol):
    async def plan(self, cases: Sequence[GoldenCase], now_us: int) -> None:
        """Put the cases of a day up, each (policy, day, arm, prompt) once, whoever plans them how often."""

    async def claim(
        self, rule: GoldenRule, day: int, *, limit: int, until_us: int, now_us: int, without: Sequence[str]
    ) -> list[GoldenCase]:
        """Claim cases of the day whose arm or judge is to be called, in the order of the set, and book what is set
        aside for each call, while the day's cap allows it. Those with an ``answer`` are the judge's.

        A claim that runs out is nobody's: its call may have been made, and is not made again. without : arms that had
        better not be called now.
        """

    async def answered(
        self, case: GoldenCase, *, cost: JudgeCost, answer: str, judge_usd: float, now_us: int
    ) -> bool:
        """Keep the answer for the judge and settle the cost, if the claim still stands.

        judge_usd : to be set aside for the judge's call.
        """

    async def judged(self, case: GoldenCase, *, cost: JudgeCost, score: float, now_us: int) -> bool:
        """Keep the score, delete the answer and settle the cost, if the claim still stands."""

    async def give_back(self, case: GoldenCase, *, cost: JudgeCost, due_at_us: int, last: bool, now_us: int) -> bool:
        """A call has failed: settle its cost; it may be made again from then on, or is over with the ``last`` one."""

    async def drop(self, policy: str, day: int, now_us: int) -> int:
        """Give up cases of earlier days that wait, and those whose claim has run out. Returns how many."""

    async def count(self, rule: GoldenRule, day: int, now_us: int) -> list[GoldenWatch]:
        """Let each arm's test count its days that are over, once; delete old cases. The tests that have changed."""

    async def watches(self, policy: str) -> list[GoldenWatch]:
        """What the days have shown, by the name of the arm."""

    async def states(self, policy: str, day: int) -> Mapping[str, int]:
        """Cases of a day by state."""

    async def spent_usd(self, rule: GoldenRule, day: int) -> float:
        """What the calls of a day have cost, with what is set aside for those under way."""
