"""The walk of a log with a candidate's rule and another one: what each would have drawn, and what that would earn."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Final

import numpy as np

from banditd.bandit.snapshot import Snapshot
from banditd.core.evaluation import INCUMBENT
from banditd.core.pace import Pace
from banditd.core.types import Arm, Context, FloatArray, IntArray, Query
from banditd.deciding.decide import Case, Decided, Situation, decide
from banditd.deciding.pledge import DEARER, Pledge
from banditd.deciding.view import RouteView
from banditd.ope.difference import Compared, DifferenceSums, difference_terms
from banditd.ports.evaluations import LoggedDecision
from banditd.services.candidates.course import Course, Made
from banditd.services.candidates.knowledge import Knowledge
from banditd.services.policy import PolicyConfig, PolicyRuntime

BLOCK: Final = 8  # decisions that are decided at once, by what was known before the first of them
# Excluded then for what a candidate, or the policy of today, may see otherwise.
_REVISABLE: Final = frozenset({DEARER, "disabled"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A policy's rule of deciding: its settings and its arms."""

    config: PolicyConfig
    arms: tuple[Arm, ...]


@dataclass(slots=True, kw_only=True)
class Walked:
    """What a walk has found.

    sums : of the difference, candidate less the other; halves : of the first and the second half of the decisions.
    left_out : why decisions were, to how many. shares, other_shares : of the arms, by name.
    """

    sums: DifferenceSums = field(default_factory=DifferenceSums)
    halves: tuple[DifferenceSums, ...] = field(default_factory=lambda: (DifferenceSums(), DifferenceSums()))
    left_out: Counter[str] = field(default_factory=Counter)
    shares: dict[str, float] = field(default_factory=dict)
    other_shares: dict[str, float] = field(default_factory=dict)
    since_us: int | None = None
    until_us: int | None = None
    restored: bool = True
    refused: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Which decisions are looked at: none of ``until_us`` or later, and the first ``warming`` ones only to find the
    course of the promises again.

    courses : where the two do not promise the same of the same arms, whose promises have to be kept anew: of the
    candidate, of the policy; None for one that promises nothing. Elsewhere what was logged holds for both.
    """

    until_us: int
    warming: int = 0
    courses: tuple[Course | None, Course | None] | None = None


class LogWalk:
    """Plays the candidate against the policy as it stands, or against one arm.

    rows : what has taught something, oldest first, up to now. against : ``incumbent``, or an arm's name.
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
        self._runtime = runtime
        self._candidate = candidate
        self._incumbent = Rule(config=replace(runtime.config, switches=runtime.switches), arms=runtime.arms)
        self._rows = rows
        self._knowledge = knowledge
        self._against = against
        self._window = window
        self._names = tuple(arm.arm for arm in runtime.arms)
        self._index = {name: i for i, name in enumerate(self._names)}
        self._generations = {arm.arm: arm.generation for arm in runtime.arms}
        self.found = Walked()
        self._shares = np.zeros((2, len(self._names)))

    async def run(self) -> AsyncIterator[int]:
        """Walk; gives how many of the rows are done, now and then. Others have the event loop in between."""
        pace, found = Pace(), self.found
        chosen = await self._chosen(pace)
        await pace.through(self._knowledge.beginning())
        found.restored = self._knowledge.restored
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
                into.update(zip(self._names, shares.tolist(), strict=True))

    def _count(self, compared: Compared, late: bool) -> None:
        terms, found = difference_terms(compared), self.found
        found.sums.add(terms)
        found.halves[late].add(terms)
        found.refused += int((compared.wanted.sum(1) == 0.0).sum())
        self._shares += compared.wanted.sum(0), compared.other.sum(0)

    async def _promising(self, at_us: int) -> None:
        """Let the promises know what was known then."""
        snapshots = self._knowledge.snapshots()[::-1] if self._window.courses else ()
        for course, snapshot in zip(self._window.courses or (), snapshots, strict=True):
            if course is not None:
                await course.until(at_us, snapshot.posterior)

    # -------------------------------------------------------------- which decisions

    async def _chosen(self, pace: Pace) -> set[int]:
        """Indices of the rows that are evaluated; counts the others by why they are not."""
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
        """Within which nine of ten rewards have come: of younger decisions only the hasty are rated."""
        delays = [row.rated_at_us - row.created_at_us for row in self._rows if row.contribution is not None]
        return max(int(np.quantile(delays, 0.9)), 0) if delays else 0

    def _why_not(self, row: LoggedDecision) -> str | None:
        config, promise = self._incumbent.config, self._incumbent.config.switches.promise
        if row.created_at_us >= self._window.until_us:
            return "later"
        if row.contribution is None:
            return "unrated"
        if row.reason != "policy":
            return "own_objective" if row.reason == "quality_floor" else "not_drawn"
        if row.contribution.arm != row.arm:
            return "served_by_another"
        if row.keep is None and (row.cost_weight != config.cost_weight or promise is not None):
            return "own_objective"
        if promise is not None and (row.baseline not in self._index or "share" not in row.promise):
            return "own_objective"
        return self._other_promise(row)

    def _other_promise(self, row: LoggedDecision) -> str | None:
        """Whether it was made under another promise than the policy's of today, where that has to be known."""
        course = self._window.courses and self._window.courses[1]
        if not course:
            return None
        present = row.keep == course.keep_of(row) and row.baseline == course.baseline_name
        return None if present else "own_objective"

    # -------------------------------------------------------------- one block

    def _compared(self, block: Sequence[LoggedDecision]) -> Compared:
        """What was logged of these decisions, and what both rules would draw from."""
        logged, mean, drawn, predicted = self._logged(block)
        snapshot, other_snapshot = self._knowledge.snapshots()
        courses = self._window.courses or (None, None)
        wanted, cost_usd = self._vectors(self._candidate, other_snapshot, block, courses[0], (logged, drawn))
        if self._against == INCUMBENT:
            other, _ = self._vectors(self._incumbent, snapshot, block, courses[1], (logged, drawn))
        else:
            other = np.zeros(wanted.shape)
            other[:, self._index[self._against]] = 1.0
        reward = np.array([row.contribution.reward for row in block if row.contribution is not None])
        return Compared(
            logged=logged, wanted=wanted, other=other, mean=mean, drawn=drawn, reward=reward, predicted=predicted,
            cost_usd=cost_usd,
        )  # fmt: skip

    def _logged(self, block: Sequence[LoggedDecision]) -> tuple[FloatArray, FloatArray, IntArray, FloatArray]:
        """Logged probabilities and means over the arms of today, the arm that was drawn, what was predicted of it."""
        shape = (len(block), len(self._names))
        logged, mean = np.zeros(shape), np.zeros(shape)
        drawn, predicted = np.full(len(block), -1, dtype=np.intp), np.zeros(len(block))
        for i, row in enumerate(block):
            places = [self._place(row, arm) for arm in row.arms]
            here = [j for j, place in enumerate(places) if place >= 0]
            at = [places[j] for j in here]
            logged[i, at], mean[i, at] = row.probability[here], row.mean[here]
            chosen = row.arms.index(row.arm)
            drawn[i], predicted[i] = places[chosen], row.mean[chosen]
        return logged, mean, drawn, predicted

    def _place(self, row: LoggedDecision, arm: str) -> int:
        """Where the arm is today; -1 for one that is gone, or another one under its name."""
        if row.generations.get(arm, 1) != self._generations.get(arm, 1):
            return -1
        return self._index.get(arm, -1)

    def _vectors(
        self,
        rule: Rule,
        snapshot: Snapshot,
        block: Sequence[LoggedDecision],
        course: Course | None,
        log: tuple[FloatArray, IntArray],
    ) -> tuple[FloatArray, FloatArray]:
        """(what the rule would draw from, 0 where it would refuse; what every arm would cost): float64 (n, K).

        course : of its promise, which notes what it makes. log : probabilities and drawn arms, as logged.
        """
        view, config = self._runtime.view_of(snapshot, rule.arms), rule.config
        probability = np.zeros((len(block), len(self._names)))
        cost_usd = np.zeros(probability.shape)
        for price, rows in _by_price(block, view, config.cost_weight):
            situation = Situation(
                view=view, now_us=0, exploration_floor=config.settings.floor, cost_weight=config.cost_weight,
                price_per_usd=price, resources=config.resources,
            )  # fmt: skip
            cases = [self._case(rule, view, block[i], course) for i in rows]
            decided = decide(situation, cases, np.zeros(len(rows)))
            places = np.array(rows, dtype=np.intp)[decided.rows]
            probability[places] = decided.draw.probability
            cost_usd[places] = decided.priced.cost_usd
            for at, i in enumerate(places.tolist()):
                pledge = cases[decided.rows[at]].pledge
                if course is not None and pledge is not None:
                    course.note(block[i], _made(decided, at, pledge.keep, log[0][i], int(log[1][i])))
        return probability, cost_usd

    def _case(self, rule: Rule, view: RouteView, row: LoggedDecision, course: Course | None) -> Case:
        offered = tuple(arm for arm in self._names if self._is_offered(row, arm))
        pledge = None
        if course is not None:
            pledge = course.pledge(course.keep_of(row))
        elif rule.config.switches.promise is not None and row.baseline is not None:
            pledge = Pledge(
                view.index[row.baseline],
                price_per_usd=float(row.promise.get("price_per_usd", 0.0)),
                share=float(row.promise["share"]),
            )
        return Case(
            query=Query(policy=self._runtime.name, candidates=offered),
            context=Context(row.x.astype(np.float64), row.cluster, row.facts),
            input_tokens=float(row.input_tokens),
            pledge=pledge,
        )

    def _is_offered(self, row: LoggedDecision, arm: str) -> bool:
        """Whether the query itself allowed the arm, or it was not there yet."""
        return arm in row.arms or row.exclusions.get(arm, "disabled") in _REVISABLE


def _made(decided: Decided, at: int, keep: float, logged: FloatArray, drawn: int) -> Made:
    return Made(
        keep=keep,
        vector=decided.draw.probability[at],
        own=decided.scores.probability[at],
        eligible=decided.admissions[at].arms,
        cost_usd=decided.priced.cost_usd[at],
        mean=decided.scores.mean[at],
        logged=logged,
        drawn=drawn,
    )


def _by_price(
    block: Sequence[LoggedDecision], view: RouteView, cost_weight: float
) -> Iterator[tuple[float, list[int]]]:
    """(what budgets took off the utility, per dollar; the decisions of that price, in order)."""
    scale = view.cost_scale_usd
    own = cost_weight / scale if scale > 0.0 else 0.0

    def price(i: int) -> float:
        logged, promised = block[i].price_per_usd, block[i].promise.get("price_per_usd")
        if logged is None or (isinstance(promised, float) and logged <= promised * (1.0 + 1e-9)):
            return 0.0  # no budget, or one that asked for less than the promise did
        return max(logged - own, 0.0)

    for found, rows in groupby(range(len(block)), price):
        yield found, list(rows)


def main_arm(shares: Mapping[str, float]) -> str | None:
    """The arm with the largest share."""
    return max(shares, key=shares.__getitem__, default=None)
