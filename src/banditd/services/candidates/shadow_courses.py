"""The promises of shadowed candidates that do not promise what their policy does, kept anew beside the traffic.

Both are, the policy's too, as in an evaluation from the log: by the rewards that had come when a decision was made.
They live in the learner's memory and begin with the newest rated decisions of the log, a piece with every batch;
until they have caught up they count nothing. A learner whose state was read again (a restart, another leader, a
commit that failed) begins them anew, so that no decision is in them twice and none is missing.
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

PIECE: Final = 100  # decisions of the beginning that are played with a batch, besides as many as the batch has
MOST_PAGES: Final = 40  # of WINDOW decisions each, in which rated ones are looked for


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """A running shadow, ready to decide. snapshot : what is known before the batch, as the candidate sees it."""

    shadow: Shadow
    applied: Applied
    snapshot: Snapshot

    @property
    def rule(self) -> Rule:
        return Rule(config=self.applied.config, arms=self.applied.arms)


class ShadowCourses:
    """Those of all policies."""

    def __init__(self, log: EvaluationLog, recent: RecentOutcomes) -> None:
        self._log = log
        self._recent = recent
        self._kept: dict[str, KeptAnew] = {}

    async def before(
        self, runtime: PolicyRuntime, sides: Sequence[Side], rows: Sequence[LoggedDecision]
    ) -> KeptAnew | None:
        """Ready to decide these rows by what was known before them; None while they are still at the beginning.

        sides : those that promise otherwise. rows : of a batch, oldest first, which the beginning then takes in.
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
        """Some decisions are in none of its courses, or only in some."""
        self._kept.pop(policy, None)

    async def _begun(self, runtime: PolicyRuntime, sides: Sequence[Side]) -> KeptAnew:
        rows: list[LoggedDecision] = []
        before: str | None = None
        for _ in range(MOST_PAGES):
            page, before = await self._log.taught(
                runtime.name, runtime.builder.schema.hash, since_us=None, before_id=before, limit=WINDOW
            )
            # What is in the queue yet comes with a batch.
            rows += [row for row in page if row.contribution is not None]
            if before is None or len(rows) >= WINDOW:
                break
        rows = rows[:WINDOW][::-1]
        earlier = await earlier_of(runtime.name, rows, self._log, self._recent)
        return KeptAnew(runtime, sides, rows, earlier)


class KeptAnew:
    """The courses of one policy's promise and of its candidates'. waiting : decisions that they begin with."""

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
        """Whether it is about these shadows and nobody else has folded; prices and baselines are what they were."""
        if runtime.learned is not self._state or runtime.arms != self._arms:
            return False
        if any(side.shadow.shadow_id not in self._courses for side in sides):
            return False
        standing = [(self._policy, runtime.arms)]
        standing += [(self._courses[side.shadow.shadow_id], side.applied.arms) for side in sides]
        snapshot = runtime.view.snapshot
        return all(course is None or course.stands(runtime.view_of(snapshot, arms)) for course, arms in standing)

    def go_on(self, sides: Sequence[Side]) -> None:
        """Another batch. Whoever has stopped misses decisions from here on."""
        self._decided = DecidedAgain(self._runtime)
        self._courses = {one: self._courses[one] for one in ids_of(sides)}

    def other_promise(self, row: LoggedDecision) -> bool:
        """Whether it was made under another promise than the policy's of today."""
        return other_promise(row, self._policy)

    async def caught_up(self, sides: Sequence[Side], most: int) -> bool:
        """Play up to so many of the decisions that it begins with. Whether none is left."""
        while self.waiting and most > 0:
            block = [self.waiting.popleft() for _ in range(min(BLOCK, len(self.waiting)))]
            most -= len(block)
            block = [row for row in block if not self.other_promise(row)]
            if block:
                logged, _, drawn, _ = self._decided.logged(block)
                await self.decide(sides, block, (logged, drawn))
        return not self.waiting

    async def recount(self, log: EvaluationLog) -> None:
        """Look how many of the newest decisions are rated, now and then."""
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
        """(what the policy would draw from, what each shadow would, what every arm would cost): float64 (n, K).

        The courses take note of it. block : at most ``BLOCK``, oldest first. log : probabilities and drawn arms.
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
    """(whose vectors are in a row, drawn arms, what was predicted of these, vectors), as ``ShadowRow`` has them.

    sides : by what was logged of the promise, and by promises kept anew; the latter where ``kept`` is there.
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
    """Of their shadows."""
    return [side.shadow.shadow_id for side in sides]


async def others() -> None:
    """Let others run: each piece here is as long as a query takes."""
    for _ in range(TURNS):
        await asyncio.sleep(0)
