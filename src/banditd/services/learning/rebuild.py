"""Refold the whole log and compare with, or replace, the stored state of a policy."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from banditd.bandit.policies.base import PolicySettings
from banditd.bandit.posterior.statistics import ArmSums
from banditd.bandit.state import PolicyState
from banditd.core.errors import ConflictError
from banditd.core.types import Contribution, FeatureSchema, FloatArray
from banditd.ports import (
    PRUNED_CURSOR,
    Clock,
    EstimateDelta,
    FoldCommit,
    FoldItem,
    JobStore,
    LearningStore,
    LeaseStore,
    StatDelta,
    StoredLearning,
    StoredSegment,
)
from banditd.services.learning.folding import apply_contribution, contribution_of, estimate_deltas, stat_deltas
from banditd.services.learning.lease import LEASE, take_lease


@dataclass(frozen=True, slots=True, kw_only=True)
class RebuildReport:
    """What refolding found.

    decisions : rewarded decisions in the log under this schema; skipped: under another one.
    queued : of those, still in the learner's queue, so not yet in the stored state.
    largest_difference : of any entry of any arm's sums, relative to the largest entry of that arm's sums.
    contributions_differ : decisions whose stored contribution is not what their rewards give.
    complete_log : False when retention has deleted decisions; then the sums cannot agree.
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

    @property
    def agrees(self) -> bool:
        """Whether the stored state is the log's, to 1e-9."""
        return self.largest_difference <= 1e-9 and self.contributions_differ == 0


async def rebuild(
    *,
    policy: str,
    schema: FeatureSchema,
    settings: PolicySettings,
    store: LearningStore,
    leases: LeaseStore,
    jobs: JobStore,
    clock: Clock,
    holder: str,
    write: bool,
    lease_s: float = 10.0,
    progress: Callable[[int], None] = lambda _: None,
) -> RebuildReport:
    """Refold every rewarded decision of a policy from the log.

    Parameters
    ----------
    write : replace the stored state by the refolded one; needs the learner's lease, so a running daemon
        must be stopped first.
    lease_s : how long the learner's lease lasts; ``write`` waits that long for one that nobody renews.
    progress : called with the number of decisions refolded so far.

    Raises
    ------
    ConflictError : ``write`` while a learner is running, or after retention has deleted part of the log.
    """
    complete = await jobs.cursor(PRUNED_CURSOR) == 0
    if write and not complete:
        raise ConflictError(
            "retention has deleted part of the log, so refolding it would forget what those decisions taught"
        )
    stored = await store.load(policy, schema.hash)
    refold = _Refold(_empty_like(schema, settings, stored), write=write)
    async for batch in store.replay_log(policy):
        for item in batch:
            refold.add(item, schema.hash)
        progress(refold.decisions)
    difference = _largest_difference(refold.state, stored)
    if write:
        await _write(policy, schema, store, leases, clock, holder, lease_s, refold, stored)
    return RebuildReport(
        policy=policy,
        decisions=refold.decisions,
        skipped=refold.skipped,
        queued=refold.queued,
        segments=len(stored.segments),
        largest_difference=difference,
        contributions_differ=len(refold.contributions),
        complete_log=complete,
        written=write,
    )


class _Refold:
    """Folds the log into an empty state, noting where the stored contributions differ."""

    def __init__(self, state: PolicyState, *, write: bool) -> None:
        self.state = state
        self.decisions = self.skipped = self.queued = 0
        self.contributions: dict[str, Contribution | None] = {}
        self.deltas: list[StatDelta] = []
        self.estimates: list[EstimateDelta] = []
        self.queue_ids: list[str] = []
        self._write = write

    def add(self, item: FoldItem, schema_hash: str) -> None:
        if item.schema_hash != schema_hash:
            self.skipped += 1
            return
        self.decisions += 1
        self.queued += bool(item.queue_ids)
        self.queue_ids.extend(item.queue_ids)
        new = contribution_of(item)
        # A queued decision is allowed to lag, unless we are to write.
        counted = new if self._write or not item.queue_ids else item.contribution
        if counted != item.contribution:
            self.contributions[item.decision_id] = new
            self.deltas.extend(stat_deltas(item, new))
            self.estimates.extend(estimate_deltas(item, new))
        apply_contribution(self.state, dataclasses.replace(item, contribution=None), counted)


def _empty_like(schema: FeatureSchema, settings: PolicySettings, stored: StoredLearning) -> PolicyState:
    """A state without evidence at the stored epoch, so that late epochs fall into the same base."""
    counters = None if stored.learner is None else json.dumps(json.loads(stored.learner) | {"folded": 0})
    return PolicyState.restore(
        schema=schema,
        settings=settings,
        arms=[],
        version=stored.version,
        hyperparameters=stored.hyperparameters,
        learner=counters,
        segments=[],
    )


def _largest_difference(fresh: PolicyState, stored: StoredLearning) -> float:
    refolded = {(arm, epoch): sums for arm, epoch, sums in fresh.segments()}
    kept = {(s.arm, s.epoch): s.sums for s in stored.segments}
    largest = 0.0
    for key in refolded.keys() | kept.keys():
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


async def _write(
    policy: str,
    schema: FeatureSchema,
    store: LearningStore,
    leases: LeaseStore,
    clock: Clock,
    holder: str,
    lease_s: float,
    refold: _Refold,
    stored: StoredLearning,
) -> None:
    fresh = refold.state
    await take_lease(leases, clock, holder, lease_s=lease_s)
    try:
        version = stored.version + 1
        segments = [
            StoredSegment(arm=arm, epoch=epoch, sums=sums, version=version) for arm, epoch, sums in fresh.segments()
        ]
        kept = {(s.arm, s.epoch) for s in segments}
        await store.commit(
            FoldCommit(
                policy=policy,
                schema_hash=schema.hash,
                base_version=stored.version,
                version=version,
                epoch=fresh.epoch,
                hyperparameters=fresh.hyperparameters_json(),
                learner=fresh.learner_json(),
                segments=segments,
                dropped_segments=[(s.arm, s.epoch) for s in stored.segments if (s.arm, s.epoch) not in kept],
                contributions=refold.contributions,
                deltas=refold.deltas,
                estimates=refold.estimates,
                queue_ids=refold.queue_ids,
                at_us=clock.now_us(),
            ),
            holder=holder,
        )
    finally:
        await leases.release(LEASE, holder)
