"""Promises of shadowed candidates that differ from their policy's: solved again alongside the traffic.

The candidate's and the policy's are both solved again, as in an evaluation from the log, with the rewards that had
arrived when a decision was made. They live in the learner's memory and start with the newest rated decisions of the
log, some with every batch; nothing is counted until they have caught up. If the learner's state is read again (a
restart, another leader, a failed commit), they start again, so that no decision is in them twice and none is missing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from banditd.bandit.snapshot import Snapshot
from banditd.core.pace import TURNS
from banditd.core.shadow import KEPT_ANEW, Shadow
from banditd.core.types import FloatArray, IntArray
from banditd.deciding.promise_window import WINDOW
from banditd.ports import RecentOutcomes
from banditd.ports.evaluations import EvaluationLog, LoggedDecision
from banditd.services.candidates.applying import Applied
from banditd.services.candidates.course import (
    Course,
    Earlier,
    begin_courses,
    earlier_of,
    other_promise,
)
from banditd.services.candidates.decided_again import DecidedAgain, Rule
from banditd.services.candidates.walk import BLOCK
from banditd.services.policy import PolicyRuntime

PIECE: Final = 100  # waiting decisions that are played with each batch, in addition to the batch's size
MOST_PAGES: Final = 40  # pages of WINDOW decisions that are searched for rated ones


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """A running shadow, ready to decide. snapshot : the candidate's, before the batch."""

    shadow: Shadow
    applied: Applied
    snapshot: Snapshot

    @property
    def rule(self) -> Rule:
        return Rule(config=self.applied.config, arms=self.applied.arms)


class ShadowCourses:
    """The courses of all policies."""

    def __init__(self, log: EvaluationLog, recent: RecentOutcomes) -> None:
        self._log = log
        self._recent = recent
        self._kept: dict[str, KeptAnew] = {}

    async def before(
        self, runtime: PolicyRuntime, sides: Sequence[Side], rows: Sequence[LoggedDecision]
    ) -> KeptAnew | None:
        """The courses, ready to decide these rows with what was known before them; None until they have caught up.

        sides : those with another promise.
        rows : of a batch, oldest first; until the courses have caught up, they become part of the start.
        """
        if not sides:
            self.forget(runtime.name)
            return None
        kept = self._kept.get(runtime.name)
        if kept is None or not kept.fits(runtime, sides):
            kept = self._kept[runtime.name] = await self._begun(runtime, sides)
        kept.go_on(sides)
        await kept.recount(self._log)
        if await kept.caught_up(sides, PIECE + len(rows)):
            return kept
        kept.waiting.extend(rows)
        return None

    def forget(self, policy: str) -> None:
        """Drop a policy's courses, because they have missed some decisions."""
        self._kept.pop(policy, None)

    async def _begun(self, runtime: PolicyRuntime, sides: Sequence[Side]) -> KeptAnew:
        rows: list[LoggedDecision] = []
        before: str | None = None
        for _ in range(MOST_PAGES):
            page, before = await self._log.taught(
                runtime.name, runtime.builder.schema.hash, since_us=None, before_id=before, limit=WINDOW
            )
            # Decisions that are still queued come with a batch.
            rows += [row for row in page if row.contribution is not None]
            if before is None or len(rows) >= WINDOW:
                break
        rows = rows[:WINDOW][::-1]
        earlier = await earlier_of(runtime.name, rows, self._log, self._recent)
        return KeptAnew(runtime, sides, rows, earlier)


class KeptAnew:
    """The courses of one policy's promise and of its candidates'. waiting : decisions to start with."""

    def __init__(
        self,
        runtime: PolicyRuntime,
        sides: Sequence[Side],
        rows: Sequence[LoggedDecision],
        earlier: Earlier,
    ) -> None:
        self._runtime = runtime
        self._state, self._arms = runtime.learned, runtime.arms
        self._decided = DecidedAgain(runtime)
        self._policy: Course | None = None
        self._courses: dict[str, Course | None] = {}
        for side in sides:
            own_course, self._policy = begin_courses(runtime, side.applied, earlier, runtime.view.snapshot)
            self._courses[side.shadow.shadow_id] = own_course
        self.waiting = deque(row for row in rows if self._decided.why_not(row) is None)
        self._newest: deque[int] = deque(maxlen=WINDOW)  # when decisions were made
        self._uncounted = 0

    def fits(self, runtime: PolicyRuntime, sides: Sequence[Side]) -> bool:
        """Whether it covers these shadows, nobody else has folded, and prices and baselines have not changed."""
        if runtime.learned is not self._state or runtime.arms != self._arms:
            return False
        if any(side.shadow.shadow_id not in self._courses for side in sides):
            return False
        standing = [(self._policy, runtime.arms)]
        standing += [(self._courses[side.shadow.shadow_id], side.applied.arms) for side in sides]
        snapshot = runtime.view.snapshot
        return all(course is None or course.stands(runtime.view_of(snapshot, arms)) for course, arms in standing)

    def go_on(self, sides: Sequence[Side]) -> None:
        """Start another batch; shadows that have stopped miss decisions from here on."""
        self._decided = DecidedAgain(self._runtime)
        self._courses = {one: self._courses[one] for one in ids_of(sides)}

    def other_promise(self, row: LoggedDecision) -> bool:
        """Whether the decision was made under another promise than the policy's present one."""
        return other_promise(row, self._policy)

    async def caught_up(self, sides: Sequence[Side], most: int) -> bool:
        """Play at most ``most`` of the waiting decisions. Returns whether none is left."""
        while self.waiting and most > 0:
            block = [self.waiting.popleft() for _ in range(min(BLOCK, len(self.waiting)))]
            most -= len(block)
            block = [row for row in block if not self.other_promise(row)]
            if block:
                logged, _, drawn, _ = self._decided.logged(block)
                await self.decide(sides, block, (logged, drawn))
        return not self.waiting

    async def recount(self, log: EvaluationLog) -> None:
        """Count periodically how many of the newest decisions are rated."""
        if self._uncounted < WINDOW:
            return
        self._uncounted = 0
        since_us, until_us = min(self._newest), max(self._newest) + 1
        counted = await log.coverage(self._runtime.name, since_us=since_us, until_us=until_us)
        for course in (self._policy, *self._courses.values()):
            if course is not None:
                course.rated_among(sum(counted.rated.values()), sum(counted.decisions.values()))

    async def decide(
        self, sides: Sequence[Side], block: Sequence[LoggedDecision], log: tuple[FloatArray, IntArray]
    ) -> tuple[FloatArray, Mapping[str, FloatArray], FloatArray]:
        """(the policy's vectors, each shadow's vectors, the cost of every arm): float64 (n, K).

        The courses record these decisions. block : at most ``BLOCK``, oldest first. log : probabilities and drawn
        arms.
        """
        at_us, snapshot = block[0].created_at_us, self._runtime.view.snapshot
        await others()
        if self._policy is not None:
            await self._policy.until(at_us, snapshot.posterior)
        own, cost_usd = self._decided.vectors(self._decided.incumbent, snapshot, block, log, self._policy)
        wanted = {}
        for side in sides:
            await others()
            course = self._courses[side.shadow.shadow_id]
            if course is not None:
                await course.until(at_us, side.snapshot.posterior)
            vectors, cost = self._decided.vectors(side.rule, side.snapshot, block, log, course, own)
            wanted[side.shadow.shadow_id] = vectors
            cost_usd = np.maximum(cost_usd, cost)  # 0 where a side would refuse the query
        self._newest.extend(row.created_at_us for row in block)
        self._uncounted += len(block)
        return own, wanted, cost_usd


async def decided(
    runtime: PolicyRuntime,
    again: DecidedAgain,
    block: Sequence[LoggedDecision],
    sides: tuple[Sequence[Side], Sequence[Side]],
    kept: KeptAnew | None,
) -> tuple[list[str], IntArray, FloatArray, FloatArray]:
    """(whose vectors a row has, drawn arms, predictions for them, vectors), in the layout of ``ShadowRow``.

    sides : with the promise as logged, and with promises solved again; the latter only if ``kept`` is given.
    """
    plain, anew = sides
    await others()
    logged, mean, drawn, predicted = again.logged(block)
    own, cost_usd = again.vectors(again.incumbent, runtime.view.snapshot, block, (logged, drawn))
    ids, wanted = ids_of(plain), []
    for side in plain:
        await others()
        vectors, cost = again.vectors(side.rule, side.snapshot, block, (logged, drawn))
        wanted.append(vectors)
        cost_usd = np.maximum(cost_usd, cost)  # 0 where a side would refuse the query
    if kept is not None:
        own_anew, vectors_anew, cost = await kept.decide(anew, block, (logged, drawn))
        cost_usd = np.maximum(cost_usd, cost)
        ids += [KEPT_ANEW, *vectors_anew]
        wanted += [own_anew, *vectors_anew.values()]
    await others()
    return ids, drawn, predicted, np.stack([logged, mean, cost_usd, own, *wanted], axis=1)


def ids_of(sides: Sequence[Side]) -> list[str]:
    """The ids of their shadows."""
    return [side.shadow.shadow_id for side in sides]


async def others() -> None:
    """Let other tasks run; each piece of work here takes as long as a query."""
    for _ in range(TURNS):
        await asyncio.sleep(0)
