"""The store of judging: waiting answers, verdicts, accounts, refusals. Each method is one transaction."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from banditd.core.judging import (
    AnswerToJudge,
    JudgeAccount,
    JudgeCost,
    JudgeTask,
    LabelledVerdict,
    Refusal,
    RewardState,
    StoredJudgement,
)


class JudgingStore(Protocol):
    async def sample(self, answers: Sequence[AnswerToJudge], most: Mapping[str, int]) -> list[AnswerToJudge]:
        """Put answers into the queue, each (decision, judge) once. most : by judge, how many may wait.

        Those that find no room are counted as dropped, and nothing else is kept of them. Returns these.
        """

    async def lease(
        self, judge: str, version: str, *, limit: int, until_us: int, now_us: int, max_attempts: int
    ) -> list[JudgeTask]:
        """Claim tasks that nobody holds now, oldest first, until then.

        version : of the judge that is to score them now, whichever it was when they were sampled: their verdicts'.
        """

    async def finish(
        self, task_id: str, lease: str, *, score: float, reason: str, cost: JudgeCost, now_us: int
    ) -> StoredJudgement | None:
        """Keep the verdict, delete the answer and book the cost, if the claim still stands.

        None where it does not, as somebody else has claimed or judged it; nothing is booked then.
        """

    async def give_back(
        self, task_id: str, lease: str, *, due_at_us: int, max_attempts: int, cost: JudgeCost, now_us: int
    ) -> str | None:
        """A try has failed: the task may be claimed again from then on, or is deleted as failed after the last one.

        Returns the judge; None where the claim no longer stands, and nothing is booked then.
        """

    async def judgement_of_task(self, task_id: str) -> StoredJudgement | None:
        """The verdict that a task became."""

    async def has_task(self, task_id: str) -> bool: ...

    async def book(self, judge: str, policy: str, cost: JudgeCost, now_us: int) -> None:
        """Book the cost of a call whose task is gone."""

    async def drop(self, now_us: int, limits: Mapping[str, int]) -> int:
        """Delete some answers that waited too long, whoever's, or were tried ``limits`` (by judge) times.

        Before that, times that a clock far ahead has written are set to now.

        Returns how many; 0 when there are no more.
        """

    async def with_reward(self, judge: str, state: RewardState, limit: int) -> list[StoredJudgement]:
        """Verdicts in that state, oldest first."""

    async def counted_of(self, judge: str, version: str, limit: int) -> list[StoredJudgement]:
        """Verdicts of a version that are rewards."""

    async def mark(self, judgements: Sequence[StoredJudgement], state: RewardState) -> None:
        """Note what became of verdicts as rewards, where nobody else has meanwhile; ``counted`` in any case."""

    async def verdicts(self, judge: str, version: str, people: Collection[str], limit: int) -> list[LabelledVerdict]:
        """The newest verdicts, and all that people have labelled, with their labels."""

    async def refuse(self, refusal: Refusal) -> bool:
        """Refuse a judge's version, once and for all replicas. False where it was refused before."""

    async def refusals(self) -> Mapping[tuple[str, str], Refusal]:
        """By (judge, version)."""

    async def accounts(self, since_us: int | None = None) -> Mapping[str, JudgeAccount]:
        """By judge; since the beginning of that hour."""

    async def spent_usd(self, policy: str, since_us: int | None, until_us: int | None) -> float:
        """What judging a policy's answers has cost, by whole hours."""

    async def waiting(self) -> Mapping[str, int]:
        """Answers in the queue by judge."""

    async def leased(self, now_us: int) -> Mapping[str, int]:
        """Those of them that somebody is judging now."""
