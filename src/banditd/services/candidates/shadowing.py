"""Shadows of candidates on the learner's side: what each would have drawn for the decisions of a batch.

Decisions are made with what was known before the batch, so never with their own rewards. A decision's effect on the
shadow is committed together with what it teaches, so both happen exactly once. A changed reward moves the sums by the
difference.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Final

from banditd.bandit.snapshot import Snapshot
from banditd.core.candidate import Candidate
from banditd.core.errors import BanditdError, StorageUnavailableError
from banditd.core.ids import new_id
from banditd.core.pace import Pace
from banditd.core.rewards import Contribution
from banditd.core.shadow import TAG, Shadow, Shadowed, ShadowRow
from banditd.ports import Clock, FoldItem, RecentOutcomes
from banditd.ports.candidates import ShadowStore
from banditd.ports.evaluations import EvaluationLog, LoggedDecision
from banditd.services.candidates.applying import Applied, apply_candidate
from banditd.services.candidates.course import promises_otherwise
from banditd.services.candidates.decided_again import DecidedAgain
from banditd.services.candidates.rebinding import rebound, restating, shares_posterior
from banditd.services.candidates.replayable import not_to_be_replayed
from banditd.services.candidates.shadow_batch import ShadowBatch
from banditd.services.candidates.shadow_courses import ShadowCourses, Side, decided, ids_of, others
from banditd.services.candidates.walk import BLOCK as COURSE_BLOCK
from banditd.services.policy import PolicyRuntime

logger = logging.getLogger(__name__)
LOOK_S: Final = 1.0  # between two looks at which candidates are shadowed
# A posterior that only one candidate needs is expensive: it is rebuilt after this growth in commits,
RESTATED_GROWTH: Final = 1.05
RESTATED_S: Final = 10.0  # or at this age.
BLOCK: Final = 32  # decisions that are decided at once: about 1 ms of the event loop for each shadow
RESTS: Final = 20.0  # the learner waits this many times as long as shadows took, since large batches are cheaper, ...
LONGEST_REST_S: Final = 1.0  # ... but no longer than this


def rule_of(runtime: PolicyRuntime, applied: Applied) -> str:
    """Identifies the two rules that are compared, without what changes by itself (usage, prices, learned state)."""
    now = replace(runtime.config, switches=runtime.switches)
    sides = [
        [
            [one.settings.kind, dict(one.settings.options), one.settings.floor, one.cost_weight],
            None if one.switches.promise is None else dataclasses.asdict(one.switches.promise),
            [[arm.arm, arm.generation, arm.enabled, arm.min_share, arm.max_share] for arm in arms],
        ]
        for one, arms in ((now, runtime.arms), (applied.config, applied.arms))
    ]
    return hashlib.sha256(json.dumps(sides, sort_keys=True, default=str).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Restated:
    """The posterior of a candidate that does not share the policy's."""

    made_at_s: float
    version: int
    snapshot: Snapshot


class Shadowing:
    """Computes the shadows of all policies; the learner commits the result.

    contribution_of : returns what a decision is about to contribute to the statistics.
    """

    def __init__(
        self,
        *,
        store: ShadowStore,
        log: EvaluationLog,
        recent: RecentOutcomes,
        clock: Clock,
        contribution_of: Callable[[FoldItem], Contribution | None],
    ) -> None:
        self._store = store
        self._log = log
        self._courses = ShadowCourses(log, recent)
        self._clock = clock
        self._contribution_of = contribution_of
        self._known: dict[str, tuple[float, list[tuple[Candidate, Shadow]]]] = {}
        self._restated: dict[str, _Restated] = {}
        self._worked_s: dict[str, float] = {}

    @property
    def rest_s(self) -> float:
        """How long the learner should pause after the last batch."""
        return min(RESTS * sum(self._worked_s.values()), LONGEST_REST_S)

    def look_again(self, policy: str) -> None:
        """A shadow was started or stopped here: read them again."""
        self._known.pop(policy, None)

    async def seen(self, runtime: PolicyRuntime, items: Sequence[FoldItem]) -> Shadowed | None:
        """What a batch about to be folded does to the policy's shadows; None for nothing.

        Raises StorageUnavailableError if the database is unavailable. Any other failure is logged and learning goes
        on.
        """
        began_s = perf_counter()
        try:
            shadows = await self._shadows(runtime.name)
            found = await self._seen(runtime, items, shadows) if shadows else None
        except StorageUnavailableError:
            raise
        except Exception:
            logger.exception("shadow.failed", extra={"policy": runtime.name})
            self.look_again(runtime.name)
            self._courses.forget(runtime.name)
            return None
        self._worked_s[runtime.name] = perf_counter() - began_s if shadows else 0.0
        return found

    async def _shadows(self, policy: str) -> list[tuple[Candidate, Shadow]]:
        now_s = asyncio.get_running_loop().time()
        looked_s, found = self._known.get(policy, (-LOOK_S, []))
        if now_s - looked_s >= LOOK_S:
            found = await self._store.of_policy(policy)
            self._known[policy] = now_s, found
            standing = {shadow.shadow_id for _, known in self._known.values() for _, shadow in known}
            self._restated = {one: made for one, made in self._restated.items() if one in standing}
        return found

    async def _seen(
        self, runtime: PolicyRuntime, items: Sequence[FoldItem], shadows: list[tuple[Candidate, Shadow]]
    ) -> Shadowed | None:
        schema_hash = runtime.builder.schema.hash
        put = {one.decision_id: self._contribution_of(one) for one in items if one.schema_hash == schema_hash}
        changed = {
            one.decision_id: one
            for one in items
            if one.decision_id in put and put[one.decision_id] != one.contribution
        }
        again = [one.decision_id for one in changed.values() if one.contribution is not None or one.retracted]
        kept = await self._store.rows(again) if again else {}
        new = [
            one
            for decision_id, one in changed.items()
            if one.contribution is None and decision_id not in kept and put[decision_id] is not None
        ]
        sides = await self._sides(runtime, shadows) if new else []
        known = [shadow for _, shadow in shadows] + [side.shadow for side in sides]
        batch = ShadowBatch(runtime.name, {shadow.shadow_id: shadow for shadow in known})
        for decision_id, row in kept.items():
            batch.move(row, put[decision_id])
        if sides:
            await self._count(runtime, sides, batch, new, put)
        elif new:
            self._courses.forget(runtime.name)
        self._note(runtime.name, batch.found)
        return batch.found if batch.found.rows or batch.found.sums else None

    async def corrected(self, policy: str, contributions: Mapping[str, Contribution | None]) -> Shadowed | None:
        """What corrected contributions do to the policy's shadows when a rebuild replaces them; None for nothing."""
        kept = await self._store.rows(list(contributions)) if contributions else {}
        shadows = await self._store.of_policy(policy) if kept else []
        batch = ShadowBatch(policy, {shadow.shadow_id: shadow for _, shadow in shadows})
        for decision_id, row in kept.items():
            batch.move(row, contributions[decision_id])
        return batch.found if batch.found.rows else None

    # -------------------------------------------------------------- the rules

    async def _sides(self, runtime: PolicyRuntime, shadows: list[tuple[Candidate, Shadow]]) -> list[Side]:
        sides = []
        for candidate, shadow in shadows:
            if not shadow.running:
                continue
            try:
                applied = apply_candidate(runtime, candidate)
            except BanditdError:
                continue  # for example an arm is gone; the candidate's page says why
            if not_to_be_replayed(runtime, applied) is not None:
                continue
            current = await self._current(shadow, rule_of(runtime, applied), tuple(arm.arm for arm in runtime.arms))
            if current is not None:
                snapshot = await self._snapshot(runtime, applied, current)
                sides.append(Side(shadow=current, applied=applied, snapshot=snapshot))
        return sides

    async def _current(self, shadow: Shadow, rule: str, arms: tuple[str, ...]) -> Shadow | None:
        """The shadow, or its successor if a rule has changed; None if it has ended."""
        if shadow.rule == rule:
            return shadow
        now_us = self._clock.now_us()
        anew = Shadow(
            shadow_id=new_id(now_us),
            candidate_id=shadow.candidate_id,
            policy=shadow.policy,
            started_at_us=now_us,
            rule=rule,
            arms=arms,
        )
        begun = await self._store.begin_anew(anew, instead_of=shadow.shadow_id)
        self.look_again(shadow.policy)
        return anew if begun else None

    async def _snapshot(self, runtime: PolicyRuntime, applied: Applied, shadow: Shadow) -> Snapshot:
        """The candidate's snapshot, before the batch."""
        settings, published = applied.config.settings, runtime.view.snapshot
        if shares_posterior(runtime.config.settings, settings):
            return rebound(published, runtime.learned, settings)
        now_s = asyncio.get_running_loop().time()
        made = self._restated.get(shadow.shadow_id)
        version = published.version
        if made is None or _is_old(made, version, now_s):
            pieces, pace = restating(runtime.learned, settings), Pace()
            while True:
                try:
                    next(pieces)
                except StopIteration as end:
                    made = _Restated(made_at_s=now_s, version=version, snapshot=end.value.snapshot())
                    break
                await pace.step()
            self._restated[shadow.shadow_id] = made
        return made.snapshot

    # -------------------------------------------------------------- the batch

    async def _count(
        self,
        runtime: PolicyRuntime,
        sides: Sequence[Side],
        batch: ShadowBatch,
        items: Sequence[FoldItem],
        put: Mapping[str, Contribution | None],
    ) -> None:
        """Count decisions that have just got their first reward."""
        again = DecidedAgain(runtime)
        by_id = {one.decision_id: one for one in items}
        chosen = await self._chosen(again, by_id, put, batch, sides)
        plain: list[Side] = []
        anew: list[Side] = []
        for side in sides:
            (anew if promises_otherwise(runtime, side.applied) else plain).append(side)
        kept = await self._courses.before(runtime, anew, chosen)
        both, alone = [], []
        for row in chosen:
            if kept is not None and not kept.other_promise(row):
                both.append(row)
                continue
            batch.leave_out(ids_of(anew), "warming" if kept is None else "own_objective")
            alone.append(row)
        for rows, beside, size in ((both, kept, COURSE_BLOCK), (alone if plain else [], None, BLOCK)):
            for start in range(0, len(rows), size):
                block = rows[start : start + size]
                ids, drawn, predicted, vectors = await decided(runtime, again, block, (plain, anew), beside)
                counted = [
                    ShadowRow(
                        decision_id=row.decision_id,
                        reward=None if row.contribution is None else row.contribution.reward,
                        arms=again.names,
                        drawn=int(drawn[i]),
                        predicted=float(predicted[i]),
                        parts=batch.parts(ids, by_id[row.decision_id]),
                        vectors=vectors[i],
                    )
                    for i, row in enumerate(block)
                ]
                for _ in batch.count(counted, [row.created_at_us for row in block]):
                    await others()

    async def _chosen(
        self,
        again: DecidedAgain,
        by_id: Mapping[str, FoldItem],
        put: Mapping[str, Contribution | None],
        batch: ShadowBatch,
        sides: Sequence[Side],
    ) -> list[LoggedDecision]:
        """The decisions that can be made again, oldest first; the others are counted by reason."""
        chosen = []
        for logged in await self._log.logged(list(by_id)):
            events = by_id[logged.decision_id].events
            rated_at_us = max((event.created_at_us for event in events), default=logged.created_at_us)
            row = replace(logged, contribution=put[logged.decision_id], rated_at_us=rated_at_us)
            reason = again.why_not(row)
            if reason is None:
                chosen.append(row)
            else:
                batch.leave_out(ids_of(sides), reason)
        return chosen

    def _note(self, policy: str, found: Shadowed) -> None:
        """Record the result, so that the next batch continues from here before the shadows are read again."""
        if policy in self._known:
            looked_s, shadows = self._known[policy]
            self._known[policy] = looked_s, [(candidate, _after(shadow, found)) for candidate, shadow in shadows]


def _is_old(made: _Restated, version: int, now_s: float) -> bool:
    grown = version >= RESTATED_GROWTH * made.version or now_s - made.made_at_s >= RESTATED_S
    return version != made.version and grown


def _after(shadow: Shadow, found: Shadowed) -> Shadow:
    sums = found.sums.get(shadow.shadow_id, {})
    return replace(
        shadow,
        rated=shadow.rated + found.rated.get(shadow.shadow_id, 0),
        tag_parts=shadow.tag_parts | {part for part in sums if part.startswith(TAG)},
    )
