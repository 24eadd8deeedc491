"""The store of probes: waiting calls, their results, accounts. Each method is one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from banditd.core.comparing import PairToCompare
from banditd.core.judging import AnswerToJudge, JudgeCost
from banditd.core.probing import ProbeAccount, ProbeRequest, ProbeTally, ProbeTask


class ProbeStore(Protocol):
    async def draw(self, requests: Sequence[ProbeRequest], caps_usd: Mapping[str, float]) -> list[ProbeRequest]:
        """Put calls into the queue, each (decision, judge, arm) once. caps_usd : of 24 hours, by judge.

        Those for which there is no money or room are counted as dropped, and nothing else is kept of them. Returns
        these.
        """

    async def due(self, judge: str, now_us: int) -> bool:
        """Whether some call may be made now."""

    async def claim(
        self,
        judge: str,
        *,
        limit: int,
        until_us: int,
        now_us: int,
        cap_usd: float,
        without: Sequence[tuple[str, str]],
    ) -> list[ProbeTask]:
        """Claim calls that wait, oldest first, and book what is set aside for each, while the cap allows it.

        A claim that runs out is nobody's: its call may have been made, and is not made again. without : (policy, arm)
        that had better not be called now.
        """

    async def answered(
        self,
        probe_id: str,
        lease: str,
        *,
        cost: JudgeCost,
        answer: AnswerToJudge | None,
        now_us: int,
        pair: PairToCompare | None = None,
    ) -> bool:
        """Hand the answer to the judge, delete the request and settle the cost, if the claim still stands.

        answer : None where it has no text. pair : the same to be compared with what was served.
        """

    async def give_back(
        self, probe_id: str, lease: str, *, due_at_us: int, last: bool, cost: JudgeCost, now_us: int
    ) -> bool:
        """A call has failed: settle its cost; it may be made again from then on, or is over with the ``last`` one."""

    async def withdraw(self, probe_id: str, lease: str, now_us: int) -> bool:
        """The call cannot be made: its arm is gone, or has no upstream any more. Nothing is charged."""

    async def drop(self, now_us: int) -> int:
        """Delete the requests of some calls that waited too long, or whose claim has run out, whoever's.

        Returns how many; 0 when there are no more.
        """

    async def unjudged(self, judge: str) -> int:
        """Answers, and pairs of them, that wait for the judge."""

    async def waiting(self) -> Mapping[str, int]:
        """Calls that wait or are under way, by judge."""

    async def accounts(self, since_us: int | None = None) -> Mapping[str, ProbeAccount]:
        """By judge; since the beginning of that hour."""

    async def by_arm(self, newest: int) -> Sequence[ProbeTally]:
        """The ``newest`` probes of all judges together, by judge and arm."""

    async def spent_usd(self, policy: str, since_us: int | None, until_us: int | None) -> float:
        """What probes of a policy's queries have cost, by whole hours."""
