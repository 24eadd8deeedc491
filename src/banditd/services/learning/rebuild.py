"""Folds the whole log again and compares the result with a policy's stored state, or replaces it, damaged rows
included.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import numpy as np

from banditd.bandit.policies.base import PolicySettings
from banditd.bandit.posterior.statistics import ArmSums
from banditd.bandit.state import PolicyState
from banditd.core.errors import BanditdError, ConflictError
from banditd.core.rewards import Contribution
from banditd.core.shadow import Shadowed
from banditd.core.types import FeatureSchema, FloatArray
from banditd.ports import (
    PRUNED_CURSOR,
    Clock,
    FoldCommit,
    FoldItem,
    JobStore,
    LearningStore,
    LeaseStore,
    StoredLearning,
    StoredSegment,
)
from banditd.services.learning.damage import Damage, Examined, examine
from banditd.services.learning.folding import (
    apply_contribution,
    apply_other_contributions,
    contribution_of,
    other_contributions_of,
)
from banditd.services.learning.lease import LEASE, take_lease
from banditd.services.learning.recount import Recount
from banditd.services.policy import PolicyRuntime

CHECKED_ROWS = 1000
ALL_SNAPSHOTS = 1_000_000
Corrections = Callable[[str, Mapping[str, Contribution | None]], Awaitable[Shadowed | None]]
NAMED = 100
"""Most differing contributions that are listed; all are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RebuildReport:
    """The result of folding the log again.

    decisions : rewarded decisions in the log under this schema. skipped : under another one.
    queued : those that are still in the learner's queue, so not yet in the stored state.
    largest_difference : over all entries of all intact segments' sums, relative to the largest entry of those sums.
    contributions_differ : decisions whose stored contribution does not match their rewards.
    damages : damaged rows, each with what becomes of it.
    complete_log : False if retention has deleted decisions; then the sums cannot agree.
    """

    policy: str
    decisions: int
    skipped: int
    queued: int
    segments: int
    largest_difference: float
    contributions_differ: int
    complete_log: bool
    written: bool
    damages: tuple[Damage, ...] = ()

    @property
    def agrees(self) -> bool:
        """Whether the stored state matches the log to 1e-9, and every row of both is intact."""
        return self.largest_difference <= 1e-9 and self.contributions_differ == 0 and not self.damages


async def rebuild(
    runtime: PolicyRuntime,
    *,
    store: LearningStore,
    leases: LeaseStore,
    jobs: JobStore,
    clock: Clock,
    holder: str,
    write: bool,
    lease_s: float = 10.0,
    progress: Callable[[int], None] = lambda _: None,
    shadows: Corrections | None = None,
) -> RebuildReport:
    """Fold every rewarded decision of a policy again, from the log.

    Parameters
    ----------
    write : replace the stored state by the new one. It needs the learner's lease, so a running daemon must be stopped
    first. If retention has deleted part of the log, only damaged rows are replaced.
    lease_s : duration of the learner's lease; with ``write`` this waits that long for an abandoned one.
    progress : called with the number of decisions folded so far.
    shadows : applies corrected contributions to candidates' shadows.

    Raises
    ------
    ConflictError : ``write`` while a learner is running, or on an intact state after retention has deleted part of
    the log.
    """
    policy, schema, settings = runtime.name, runtime.builder.schema, runtime.config.settings
    complete = await jobs.cursor(PRUNED_CURSOR) == 0

    if write:
        await take_lease(leases, clock, holder, lease_s=lease_s)
    try:
        stored = await store.load(policy, schema.hash)
        found = examine(policy, schema, settings, stored, await store.snapshots(policy, ALL_SNAPSHOTS))
        _refuse_forgetting(found, write=write, complete=complete)
        refold = _Refold(_empty_like(schema, settings, found.whole), schema.hash, write=write)
        async for batch in store.replay_log(policy):
            for item in batch:
                refold.add(item)
            if write:
                await take_lease(leases, clock, holder, lease_s=lease_s)
            progress(refold.decisions)
        damages = found.damages + refold.damages + await _damaged_rows(store, policy, refold)
        difference = _largest_difference(refold.state, found.whole, without=found.segments)
        if write:
            commit = _replacement(policy, schema, refold, found, complete=complete, at_us=clock.now_us())
            if shadows is not None:
                commit = dataclasses.replace(commit, shadowed=await shadows(policy, commit.contributions))
            await store.commit(commit, holder=holder)
    finally:
        if write:
            await leases.release(LEASE, holder)
    return refold.report(
        policy, segments=len(stored.segments), difference=difference, damages=damages, complete=complete
    )


def _refuse_forgetting(found: Examined, *, write: bool, complete: bool) -> None:
    if write and not complete and not found.damages:
        raise ConflictError(
            "retention has deleted part of the log, so rebuilding would lose what those decisions taught"
        )


class _Refold:
    """Folds the log into an empty state and records where stored contributions differ."""

    def __init__(self, state: PolicyState, schema_hash: str, *, write: bool) -> None:
        self.state = state
        self.decisions = self.skipped = self.queued = 0
        self.contributions: dict[str, Contribution | None] = {}
        self.other_contributions: dict[tuple[str, str], Contribution | None] = {}
        self.newly_estimated: dict[str, Contribution] = {}
        self.recount = Recount()
        self.queue_ids: list[str] = []
        self.damages: list[Damage] = []
        self.damaged_decisions: set[str] = set()
        self._schema_hash = schema_hash
        self._write = write

    def add(self, item: FoldItem) -> None:
        if item.damage is not None:
            self._leave_out(item, Damage(table="decision", row=item.decision_id, reason=item.damage, from_log=False))
            return
        if item.schema_hash != self._schema_hash:
            self.skipped += 1
            if item.contribution is not None:
                self.recount.add(item, item.contribution, own=False)
                self._note_estimated(item, item.contribution)
            return
        try:
            new, others = contribution_of(item), other_contributions_of(item)
            # A queued decision may lag, unless the state is to be replaced.
            lags = item.queue_ids and not self._write
            counted, counted_others = (item.contribution, item.other_contributions) if lags else (new, others)
            blank = dataclasses.replace(item, contribution=None, other_contributions={})
            apply_contribution(self.state, blank, counted)
            apply_other_contributions(self.state, blank, counted_others)
        except (BanditdError, ArithmeticError, TypeError, ValueError) as error:
            reason = f"its rewards cannot be learned: {error}"
            damage = Damage(
                table="reward_event", row=f"of decision {item.decision_id}", reason=reason, from_log=False
            )
            self._leave_out(item, damage)
            return
        self.decisions += 1
        self.queued += bool(item.queue_ids)
        self.queue_ids.extend(item.queue_ids)
        if counted != item.contribution:
            self._differ(item, new)
        elif counted is not None:
            self._note_estimated(item, counted)
        self._compare_others(item, others, counted_others)
        self.recount.add(item, counted, own=not item.inherited)

    def report(
        self, policy: str, *, segments: int, difference: float, damages: list[Damage], complete: bool
    ) -> RebuildReport:
        return RebuildReport(
            policy=policy,
            decisions=self.decisions,
            skipped=self.skipped,
            queued=self.queued,
            segments=segments,
            largest_difference=difference,
            contributions_differ=len(self.contributions) + len(self.other_contributions),
            complete_log=complete,
            written=self._write,
            damages=tuple(damages),
        )

    def _differ(self, item: FoldItem, new: Contribution | None) -> None:
        self.contributions[item.decision_id] = new
        if not item.queue_ids and len(self.contributions) <= NAMED:
            reason = f"it says {_stated(item.contribution)}, its rewards give {_stated(new)}"
            self.damages.append(Damage(table="contribution", row=item.decision_id, reason=reason, from_log=True))

    def _compare_others(
        self, item: FoldItem, new: Mapping[str, Contribution], counted: Mapping[str, Contribution]
    ) -> None:
        for arm in sorted(item.other_contributions.keys() | counted.keys()):
            old = item.other_contributions.get(arm)
            if counted.get(arm) == old:
                continue
            self.other_contributions[item.decision_id, arm] = new.get(arm)
            if not item.queue_ids and len(self.other_contributions) <= NAMED:
                reason = f"it says {_stated(old)}, its rewards give {_stated(new.get(arm))}"
                row = f"{item.decision_id}, arm {arm}"
                self.damages.append(Damage(table="arm_contribution", row=row, reason=reason, from_log=True))

    def _note_estimated(self, item: FoldItem, put: Contribution) -> None:
        """Mark a contribution folded by an older release: after recounting it is in the estimates of fixed arms
        too.
        """
        if not item.estimated:
            self.newly_estimated[item.decision_id] = put

    def _leave_out(self, item: FoldItem, damage: Damage) -> None:
        """Leave out a decision that cannot be folded again; it no longer counts."""
        self.damages.append(damage)
        self.damaged_decisions.add(item.decision_id)
        if item.contribution is not None and self._write:
            self.contributions[item.decision_id] = None
        if self._write:
            self.other_contributions |= {(item.decision_id, arm): None for arm in item.other_contributions}


def _stated(put: Contribution | None) -> str:
    return "nothing" if put is None else f"arm {put.arm}, weight {put.weight}, reward {put.reward}"


async def _damaged_rows(store: LearningStore, policy: str, refold: _Refold) -> list[Damage]:
    """Rows of the log with a wrong checksum, beyond those met while folding."""
    found = []
    after: str | None = ""
    while after is not None:
        damaged, after = await store.check_rows(policy, after, CHECKED_ROWS)
        found += [
            Damage(table="decision", row=decision_id, reason="its checksum does not hold", from_log=False)
            for decision_id in damaged
            if decision_id not in refold.damaged_decisions
        ]
    return found


def _empty_like(schema: FeatureSchema, settings: PolicySettings, stored: StoredLearning) -> PolicyState:
    """A state without data at the stored epoch, so that late epochs go into the same base."""
    counters = None if stored.learner is None else json.dumps(json.loads(stored.learner) | {"folded": 0, "others": 0})
    return PolicyState.restore(
        schema=schema,
        settings=settings,
        arms=[],
        version=stored.version,
        hyperparameters=stored.hyperparameters,
        learner=counters,
        segments=[],
    )


def _largest_difference(fresh: PolicyState, stored: StoredLearning, *, without: set[tuple[str, int]]) -> float:
    refolded = {(arm, epoch): sums for arm, epoch, sums in fresh.segments()}
    kept = {(s.arm, s.epoch): s.sums for s in stored.segments}
    largest = 0.0
    for key in (refolded.keys() | kept.keys()) - without:
        a, b = _vector(refolded.get(key)), _vector(kept.get(key))
        size = max(a.size, b.size)
        a, b = _padded(a, size), _padded(b, size)
        scale = max(1.0, float(np.abs(b).max(initial=0.0)))
        largest = max(largest, float(np.abs(a - b).max(initial=0.0)) / scale)
    return largest


def _vector(packed: bytes | None) -> FloatArray:
    if packed is None:
        return np.zeros(0)
    sums = ArmSums.unpack(packed)
    return np.concatenate([sums.gram.ravel(), sums.xr, [sums.weight, sums.wr, sums.wrr, sums.n]])


def _padded(vector: FloatArray, size: int) -> FloatArray:
    return vector if vector.size == size else np.zeros(size)


def _replacement(
    policy: str, schema: FeatureSchema, refold: _Refold, found: Examined, *, complete: bool, at_us: int
) -> FoldCommit:
    """What replaces everything that is stored of the policy under this schema."""
    fresh, version = refold.state, found.newest_version + 1
    segments = [
        StoredSegment(arm=arm, epoch=epoch, sums=sums, version=version) for arm, epoch, sums in fresh.segments()
    ]
    learner = fresh.learner_json()
    if not complete:
        # What deleted decisions taught is only in the intact segments.
        segments = [s for s in segments if (s.arm, s.epoch) in found.segments]
        segments += [dataclasses.replace(s, version=version) for s in found.whole.segments]
        learner = found.whole.learner or learner
    return FoldCommit(
        policy=policy,
        schema_hash=schema.hash,
        base_version=0,
        version=version,
        epoch=fresh.epoch,
        hyperparameters=fresh.hyperparameters_json(),
        learner=learner,
        segments=segments,
        replaces=True,
        recounts=complete,
        dropped_snapshots=found.snapshots,
        contributions=refold.newly_estimated | refold.contributions if complete else {},
        other_contributions=refold.other_contributions if complete else {},
        deltas=refold.recount.stats if complete else (),
        estimates=refold.recount.estimates if complete else (),
        queue_ids=refold.queue_ids if complete else (),
        at_us=at_us,
    )
