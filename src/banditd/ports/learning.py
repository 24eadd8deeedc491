"""What the learner reads and writes: decisions to fold, packed sums, one micro-batch as one transaction."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from banditd.core.anchor import AnchorOutcome, DriftRule
from banditd.core.release import UnitOutcome
from banditd.core.rewards import Contribution, RewardEvent
from banditd.core.shadow import Shadowed
from banditd.core.types import FloatArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FoldItem:
    """A decision whose rewards changed, with everything needed to refold it.

    events : active events (newest revision per identity, not retracted, status recorded).
    contribution : what it has put into the statistics until now, or None.
    queue_ids : the rows of the learner's queue that this item answers. retracted : whether a reward was taken back.
    predicted : (arm, reward predicted at its decision, logged probability) of every eligible arm; empty where the
        draw says nothing about them (kept by a session). estimated : whether ``contribution`` is in the sums of
        fixed arms.
    generations : of the arms of its policy when it was made, where they had had more than one.
    inherited : made under a schema that the present one extends, and widened to that: its clusters do not move.
    of_task : active events that it has by its task.
    others : active events of arms that did not serve it, by arm. other_contributions : what it has put into the
        statistics of such arms until now.
    release : its side of a release, as ``Decision`` has it; None outside any.
    damage : why the decision's row cannot be learned from; then it is of the schema ``damaged``, without ``x``.
    """

    decision_id: str
    policy: str
    chosen_arm: str
    served_arm: str | None
    epoch: int
    schema_hash: str
    x: FloatArray
    cluster: int
    created_at_us: int
    propensity: float
    events: tuple[RewardEvent, ...]
    contribution: Contribution | None
    queue_ids: tuple[str, ...]
    predicted: tuple[tuple[str, float, float], ...] = ()
    estimated: bool = False
    retracted: bool = False
    inherited: bool = False
    damage: str | None = None
    generations: Mapping[str, int] = field(default_factory=dict)
    tags: tuple[tuple[str, str], ...] = ()  # of the query, by name
    others: Mapping[str, tuple[RewardEvent, ...]] = field(default_factory=dict)
    other_contributions: Mapping[str, Contribution] = field(default_factory=dict)
    release: Mapping[str, object] | None = None
    of_task: tuple[RewardEvent, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSegment:
    """Packed sufficient statistics of one arm over one epoch (``bandit.posterior.statistics.ArmSums.pack``)."""

    arm: str
    epoch: int
    sums: bytes
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredLearning:
    """The persisted state of one policy under one feature schema."""

    version: int
    epoch: int
    hyperparameters: str | None  # JSON, made by bandit
    learner: str | None  # JSON: counters of the learner (folded in this epoch, last tuned at, ...)
    segments: tuple[StoredSegment, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StatDelta:
    """Difference that a fold makes to the plain-column statistics of (bucket of the decision, cluster, arm)."""

    arm: str
    cluster: int | None  # None: those of clusters do not move
    created_at_us: int
    rewards: int
    weight: float
    weighted_reward: float
    weighted_square: float
    delay_s: float | None  # of a decision's first reward, else None
    tags: tuple[tuple[str, str], ...] = ()  # of its query, by name


@dataclass(frozen=True, slots=True)
class EstimateDelta:
    """Difference that a fold makes to what an arm is estimated to earn by itself (``ope.fixed.FixedArmSums``, whose
    fields ``sums`` follows), in the bucket of the decision.
    """

    arm: str
    created_at_us: int
    sums: tuple[float, ...]
    tags: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldCommit:
    """One micro-batch: all of it is one transaction."""

    policy: str
    schema_hash: str
    base_version: int
    version: int
    epoch: int
    hyperparameters: str
    learner: str
    segments: Sequence[StoredSegment]
    dropped_segments: Sequence[tuple[str, int]] = ()
    contributions: Mapping[str, Contribution | None] = field(default_factory=dict)
    # By (decision, arm): of arms that did not serve it.
    other_contributions: Mapping[tuple[str, str], Contribution | None] = field(default_factory=dict)
    deltas: Sequence[StatDelta] = ()
    estimates: Sequence[EstimateDelta] = ()
    queue_ids: Sequence[str] = ()
    set_aside: Mapping[str, Sequence[str]] = field(default_factory=dict)  # by schema: rows for its learner
    replaces: bool = False  # all that is stored of the policy under the schema goes first; base_version is 0
    recounts: bool = False  # then ``deltas`` and ``estimates`` are the whole statistics, not differences
    dropped_snapshots: Sequence[int] = ()  # versions that go as well
    released: Sequence[UnitOutcome] = ()  # what open releases are to count
    anchored: Sequence[AnchorOutcome] = ()  # what the policy's anchor is to count, by what ``drift`` tolerates
    drift: DriftRule = field(default_factory=DriftRule)
    shadowed: Shadowed | None = None  # what it does to shadows of candidates
    at_us: int = 0


class LearningStore(Protocol):
    async def load(self, policy: str, schema_hash: str, *, since_version: int = -1) -> StoredLearning:
        """The state, or only segments changed after ``since_version``. Version 0 when nothing is stored."""

    async def versions(self, schemas: Mapping[str, str] | None = None) -> Mapping[str, int]:
        """Current snapshot version of every policy: what replicas poll.

        schemas : policy to the hash of the schema whose version is asked for. Without it, every policy's that was
        written last by the clocks of its learners: to be shown, not to be compared with.
        """

    async def claim(self, policy: str, limit: int, *, schema_hash: str | None = None) -> list[FoldItem]:
        """The decisions of ``limit`` rows of the queue, set aside for this schema or new. Changes nothing."""

    async def commit(self, fold: FoldCommit, *, holder: str) -> None:
        """Statistics, applied-mark and snapshot version in one transaction.

        Raises LeaseLostError when ``holder`` no longer holds the learner's lease or ``base_version`` is not
        the stored version: then nothing was written.
        """

    async def queue_depth(self, schemas: Mapping[str, str] | None = None) -> int:
        """Rows of the queue; with ``schemas`` (policy: hash) those alone that a learner of these would claim."""

    async def waiting(self, schemas: Mapping[str, str]) -> frozenset[str]:
        """Those of the policies (to the hash of their schema) with rows in the queue that any learner, of an older
        release too, would take; cheap at any length.
        """

    async def queued(self, learners: Collection[tuple[str, str]]) -> frozenset[str]:
        """The policies, of (policy, schema_hash) pairs, for which ``claim`` finds rows; cheap at any length."""

    def replay_log(self, policy: str, *, batch_rows: int = 1000) -> AsyncIterator[Sequence[FoldItem]]:
        """Every rewarded decision of the log in batches, oldest first, for ``rebuild`` (all events)."""

    async def snapshots(self, policy: str, limit: int) -> list[Mapping[str, object]]: ...

    async def check_rows(self, policy: str, after: str, limit: int) -> tuple[list[str], str | None]:
        """(ids of the next ``limit`` decisions behind ``after`` whose checksum fails, where to go on or None)."""

    async def sample_contributions(self, policy: str, limit: int) -> list[FoldItem]:
        """A random sample of folded decisions with their events, for the integrity check."""
