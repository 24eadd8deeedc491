"""Walks through a log with a candidate's rule and another one: what each would have drawn, and what that would
earn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from banditd.core.evaluation import INCUMBENT
from banditd.core.pace import Pace
from banditd.ope.difference import Compared, DifferenceSums, difference_terms
from banditd.ports.evaluations import LoggedDecision
from banditd.services.candidates.course import Course, other_promise
from banditd.services.candidates.decided_again import DecidedAgain, Rule
from banditd.services.candidates.knowledge import Knowledge
from banditd.services.policy import PolicyRuntime

BLOCK: Final = 8  # decisions that are decided at once, with what was known before the first of them


@dataclass(slots=True, kw_only=True)
class Walked:
    """The result of a walk.

    sums : of the difference, candidate minus the other. halves : of the first and the second half of the decisions.
    left_out : reason -> number of decisions left out.
    shares, other_shares : by arm.
    kept_anew : whether promises were solved again.
    """

    sums: DifferenceSums = field(default_factory=DifferenceSums)
    halves: tuple[DifferenceSums, ...] = field(default_factory=lambda: (DifferenceSums(), DifferenceSums()))
    left_out: Counter[str] = field(default_factory=Counter)
    shares: dict[str, float] = field(default_factory=dict)
    other_shares: dict[str, float] = field(default_factory=dict)
    since_us: int | None = None
    until_us: int | None = None
    restored: bool = True
    kept_anew: bool = False
    refused: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Which decisions are evaluated: none from ``until_us`` on; the first ``warming`` ones only warm up the promises.

    courses : (candidate's, policy's) if their promises differ and must be solved again, each None without a promise.
    Otherwise the logged promise holds for both.
    """

    until_us: int
    warming: int = 0
    courses: tuple[Course | None, Course | None] | None = None


class LogWalk:
    """Plays the candidate against the present policy, or against one arm.

    rows : decisions that taught something, oldest first, up to now. against : ``incumbent``, or an arm's name.
    """

    def __init__(
        self,
        runtime: PolicyRuntime,
        candidate: Rule,
        rows: Sequence[LoggedDecision],
        knowledge: Knowledge,
        *,
        against: str,
        window: Window,
    ) -> None:
        self._decided = DecidedAgain(runtime)
        self._candidate = candidate
        self._rows = rows
        self._knowledge = knowledge
        self._against = against
        self._window = window
        self.found = Walked()
        self._shares = np.zeros((2, len(self._decided.names)))

    async def run(self) -> AsyncIterator[int]:
        """Walk; yields the number of rows done now and then. Other tasks run in between."""
        pace, found = Pace(), self.found
        chosen = await self._chosen(pace)
        await pace.through(self._knowledge.beginning())
        found.restored, found.kept_anew = self._knowledge.restored, self._window.courses is not None
        warming = self._window.warming
        evaluated, half = 0, sum(index >= warming for index in chosen) // 2
        block: list[LoggedDecision] = []
        for index, row in enumerate(self._rows):
            if index in chosen:
                if not block:
                    await pace.through(self._knowledge.until(row.created_at_us))
                    await self._promising(row.created_at_us)
                block.append(row)
            self._knowledge.passed(index)
            full = len(block) == BLOCK or index + 1 in {len(self._rows), warming}
            if block and (full or (index >= warming and evaluated + len(block) == half)):
                compared = self._compared(block)
                await pace.step()
                if index >= warming:
                    self._count(compared, evaluated >= half)
                    evaluated += len(block)
                block = []
                yield index + 1
        if evaluated:
            for shares, into in zip(self._shares / evaluated, (found.shares, found.other_shares), strict=True):
                into.update(zip(self._decided.names, shares.tolist(), strict=True))

    def _count(self, compared: Compared, late: bool) -> None:
        terms, found = difference_terms(compared), self.found
        found.sums.add(terms)
        found.halves[late].add(terms)
        found.refused += int((compared.wanted.sum(1) == 0.0).sum())
        self._shares += compared.wanted.sum(0), compared.other.sum(0)

    async def _promising(self, at_us: int) -> None:
        """Give the promises what was known at that time."""
        snapshots = self._knowledge.snapshots()[::-1] if self._window.courses else ()
        for course, snapshot in zip(self._window.courses or (), snapshots, strict=True):
            if course is not None:
                await course.until(at_us, snapshot.posterior)

    # -------------------------------------------------------------- which decisions

    async def _chosen(self, pace: Pace) -> set[int]:
        """Indices of the rows to evaluate; counts the others by reason."""
        latest_us = self._window.until_us - self._maturity_us()
        chosen = set()
        for index, row in enumerate(self._rows):
            await pace.step()
            reason = self._why_not(row)
            if reason is None and row.created_at_us > latest_us:
                reason = "young"
            if reason is None:
                chosen.add(index)
                reason = "warming" if index < self._window.warming else None
            if reason is not None:
                self.found.left_out[reason] += 1
        compared = [index for index in chosen if index >= self._window.warming]
        if compared:
            times = [self._rows[min(compared)].created_at_us, self._rows[max(compared)].created_at_us]
            self.found.since_us, self.found.until_us = times
        return chosen

    def _maturity_us(self) -> int:
        """The time within which 90 % of rewards arrive; of younger decisions only the quickly rated ones would
        count.
        """
        delays = [row.rated_at_us - row.created_at_us for row in self._rows if row.contribution is not None]
        return max(int(np.quantile(delays, 0.9)), 0) if delays else 0

    def _why_not(self, row: LoggedDecision) -> str | None:
        if row.created_at_us >= self._window.until_us:
            return "later"
        return self._decided.why_not(row) or self._other_promise(row)

    def _other_promise(self, row: LoggedDecision) -> str | None:
        """The reason to leave out a decision made under another promise than the present one, if that matters."""
        course = self._window.courses[1] if self._window.courses else None
        return "own_objective" if other_promise(row, course) else None

    # -------------------------------------------------------------- one block

    def _compared(self, block: Sequence[LoggedDecision]) -> Compared:
        """The logged values of these decisions, and the vectors of both rules."""
        logged, mean, drawn, predicted = self._decided.logged(block)
        snapshot, other_snapshot = self._knowledge.snapshots()
        courses = self._window.courses or (None, None)
        log = logged, drawn
        policy, _ = self._decided.vectors(self._decided.incumbent, snapshot, block, log, courses[1])
        wanted, cost_usd = self._decided.vectors(self._candidate, other_snapshot, block, log, courses[0], policy)
        other = policy
        if self._against != INCUMBENT:
            other = np.zeros(wanted.shape)
            other[:, self._decided.index[self._against]] = 1.0
        reward = np.array([row.contribution.reward for row in block if row.contribution is not None])
        return Compared(
            logged=logged, wanted=wanted, other=other, mean=mean, drawn=drawn, reward=reward, predicted=predicted,
            cost_usd=cost_usd,
        )  # fmt: skip


def main_arm(shares: Mapping[str, float]) -> str | None:
    """The arm with the largest share."""
    return max(shares, key=shares.__getitem__, default=None)
