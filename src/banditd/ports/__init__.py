"""Floor 2: what the services need from the outside, as protocols. The adapters of floor 4 fill them.

All methods that answer a write return after the write is durable.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from banditd.core.errors import BanditdError
from banditd.core.money import AccountKey, AccountTotals
from banditd.core.references import Reference
from banditd.core.request_keys import RequestKey
from banditd.core.types import (
    Contribution,
    Decision,
    FloatArray,
    RewardEvent,
    RewardReceipt,
    RewardSubmission,
    UsageReport,
)
from banditd.core.usage import Settled
from banditd.ports.arms import ArmChange, ArmStore, Check, Revise
from banditd.ports.operations import PRUNED_CURSOR, BudgetStore, CorrectionStore, JobStore, LeaseStore, Maintenance
from banditd.ports.outcomes import GuardedOutcome, RecentOutcomes, UsageOutcome
from banditd.ports.secrets import Secrets
from banditd.ports.usage import PriceCost

__all__ = [
    "PRUNED_CURSOR",
    "ArmChange",
    "ArmStore",
    "BudgetStore",
    "Check",
    "CorrectionStore",
    "GuardedOutcome",
    "JobStore",
    "LeaseStore",
    "Maintenance",
    "PriceCost",
    "RecentOutcomes",
    "Revise",
    "Secrets",
    "UsageOutcome",
]

# ---------------------------------------------------------------- time and the encoder


class Clock(Protocol):
    def now_us(self) -> int:
        """Microseconds since the Unix epoch, UTC."""


class Encoder(Protocol):
    """Text to embedding. ``encode`` raises EncoderUnavailableError or EncoderOverloadedError."""

    encoder_id: str
    dimension: int

    async def encode(self, text: str) -> FloatArray:
        """Unit-norm float64, shape (dimension,)."""

    def count_tokens(self, text: str) -> int:
        """A cheap estimate of the prompt's length in tokens, for the cost model."""

    async def close(self) -> None:
        """Release threads and memory."""


# ---------------------------------------------------------------- decisions


@dataclass(frozen=True, slots=True)
class Committed:
    """What became of decisions that were to be committed.

    refused : decision id to the account whose limit it would have exceeded; of such a decision nothing is stored.
    repeated : decision id to what its request key was used for before: the decision that was made then, or a
        ConflictError for another request. Nothing is stored either.
    accounts : what stands on the accounts that the decisions are charged to, others' decisions included.
    """

    refused: Mapping[str, AccountKey] = field(default_factory=dict)
    repeated: Mapping[str, Decision | BanditdError] = field(default_factory=dict)
    accounts: Mapping[AccountKey, AccountTotals] = field(default_factory=dict)


class DecisionLog(Protocol):
    async def append(self, decisions: Sequence[Decision]) -> Committed:
        """Commit decisions (with their roll-up increments, charges and request keys) durably; concurrent calls share
        a commit.
        """

    async def repeated(self, keys: Sequence[tuple[str, RequestKey]]) -> Sequence[Decision | BanditdError | None]:
        """What each (policy, key) was used for before, as ``Committed.repeated`` has it; None for a new key."""

    async def get(self, decision_id: str) -> Mapping[str, object] | None:
        """One decision whole: its row, reward events (all revisions), usage report, contribution."""

    async def page(self, filters: DecisionFilter) -> Sequence[Mapping[str, object]]:
        """Newest first."""

    def stream(self, policy: str | None, *, batch_rows: int = 1000) -> AsyncIterator[Mapping[str, object]]:
        """Every decision with its merged reward and usage, oldest first, for export and off-policy use."""

    async def find_reference(self, reference: Reference) -> str | None:
        """The id of the newest decision that the reference means, None without one."""

    async def session_arm(self, policy: str, session_id: str) -> str | None:
        """The arm that this session was given last (with sessions written by ``append``)."""

    async def activate(self, decision_id: str, at_us: int, key: RequestKey | None = None) -> tuple[bool, bool]:
        """Activate a deferred decision and release its held rewards to the learner. What was given back of its
        estimate is charged again.

        Returns (whether it was inactive before, whether that is the answer to an earlier request under ``key``).
        Raises NotFoundError, ConflictError for another request under the key.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionFilter:
    policy: str | None = None
    arm: str | None = None
    session_id: str | None = None
    reference: str | None = None  # of any API key
    cluster: int | None = None
    explored: bool | None = None
    since_us: int | None = None
    until_us: int | None = None
    before_id: str | None = None  # exclusive cursor: decision ids sort by time
    from_id: str | None = None  # inclusive: where a search without an index stops
    limit: int = 50


# ---------------------------------------------------------------- rewards


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionFacts:
    """What must be known of a decision to judge a reward or a usage report."""

    decision_id: str
    policy: str
    arm: str
    created_at_us: int
    expires_at_us: int
    deferred: bool
    activated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredReward:
    """The newest revision under one identity."""

    reward_id: str
    decision_id: str
    revision: int
    kind: str
    status: str
    value: float | None
    reward: float | None
    body_hash: str
    late: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What to do with a submission: exactly one of ``error``, ``duplicate_of`` or a new event."""

    error: BanditdError | None = None
    duplicate_of: StoredReward | None = None
    kind: str = "reward"  # reward | retraction | default
    status: str = "recorded"  # recorded | held | logged
    revision: int = 0
    reward: float | None = None
    noise_variance: float = 0.0
    late: bool = False


Judge = Callable[[RewardSubmission, DecisionFacts | None, StoredReward | None], Verdict]


class RewardLog(Protocol):
    async def record(
        self, submissions: Sequence[RewardSubmission], judge: Judge
    ) -> list[RewardReceipt | BanditdError]:
        """Judge and insert in one transaction, in order; each submission sees the ones before it.

        ``judge`` is pure and may be called again when the transaction is retried. A new event with status
        ``recorded`` also puts its decision into the learner's queue, in the same transaction.
        """

    async def find(self, reward_id: str) -> Mapping[str, object] | None: ...

    async def report_usage(self, report: UsageReport, price_cost: PriceCost) -> Settled:
        """Merge a report into what is known of its decision (``core.usage``), once, and settle the difference.

        Raises NotFoundError for an unknown decision or an arm that the policy never had. When another arm served
        than was known the decision goes into the learner's queue.
        """

    async def unrewarded(
        self, policy: str, expired_from_us: int, expired_to_us: int, limit: int
    ) -> list[DecisionFacts]:
        """Active decisions whose window closed in ``(from, to]``, or had closed when they were activated in it, that
        have no reward to learn: none at all, or only retracted or logged ones. Not those whose call was reported as
        failed, nor those that had the default.
        """

    async def silent_usage(self, policy: str, from_us: int, to_us: int, limit: int) -> list[tuple[str, str, float]]:
        """(decision_id, arm, predicted cost_usd) of decisions without a usage report that were made in that stretch;
        deferred ones: that were activated in it.
        """

    async def charge_estimate(self, decision_ids: Sequence[str], at_us: int) -> int:
        """Settle decisions without usage at their predicted cost (``estimated`` usage). Returns how many."""

    async def abandoned(self, policy: str, created_from_us: int, created_to_us: int, limit: int) -> list[str]:
        """Decisions of that stretch that were charged to budgets, but never activated and never reported on."""

    async def release(self, decision_ids: Sequence[str], at_us: int) -> int:
        """Take the estimates of abandoned decisions off the accounts, if not activated since. Returns how many."""


# ---------------------------------------------------------------- learning


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FoldItem:
    """A decision whose rewards changed, with everything needed to refold it.

    events : active events (newest revision per identity, not retracted, status recorded).
    contribution : what it has put into the statistics until now, or None.
    queue_ids : the rows of the learner's queue that this item answers. retracted : whether a reward was taken back.
    predicted : (arm, reward predicted at its decision) of every eligible arm; empty where the draw says nothing about
        them (kept by a session). estimated : whether ``contribution`` is in the estimates of fixed arms.
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
    predicted: tuple[tuple[str, float], ...] = ()
    estimated: bool = False
    retracted: bool = False
    damage: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSegment:
    """Packed sufficient statistics of one arm over one epoch (``bandit.statistics.ArmSums.pack``)."""

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


@dataclass(frozen=True, slots=True)
class EstimateDelta:
    """Difference that a fold makes to what an arm is estimated to earn by itself (``ope.fixed.FixedArmSums``, whose
    fields ``sums`` follows), in the bucket of the decision.
    """

    arm: str
    created_at_us: int
    sums: tuple[float, ...]


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
    deltas: Sequence[StatDelta] = ()
    estimates: Sequence[EstimateDelta] = ()
    queue_ids: Sequence[str] = ()
    set_aside: Mapping[str, Sequence[str]] = field(default_factory=dict)  # by schema: rows for its learner
    replaces: bool = False  # all that is stored of the policy under the schema goes first; base_version is 0
    recounts: bool = False  # then ``deltas`` and ``estimates`` are the whole statistics, not differences
    dropped_snapshots: Sequence[int] = ()  # versions that go as well
    at_us: int = 0


class LearningStore(Protocol):
    async def load(self, policy: str, schema_hash: str, *, since_version: int = -1) -> StoredLearning:
        """The state, or only segments changed after ``since_version``. Version 0 when nothing is stored."""

    async def versions(self) -> Mapping[str, int]:
        """Current snapshot version of every policy: what replicas poll."""

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
        """Those of the policies (to the hash of their schema) that have rows in the queue; cheap at any length."""

    def replay_log(self, policy: str, *, batch_rows: int = 1000) -> AsyncIterator[Sequence[FoldItem]]:
        """Every rewarded decision of the log in batches, oldest first, for ``rebuild`` (all events)."""

    async def snapshots(self, policy: str, limit: int) -> list[Mapping[str, object]]: ...

    async def check_rows(self, policy: str, after: str, limit: int) -> tuple[list[str], str | None]:
        """(ids of the next ``limit`` decisions behind ``after`` whose checksum fails, where to go on or None)."""

    async def sample_contributions(self, policy: str, limit: int) -> list[FoldItem]:
        """A random sample of folded decisions with their events, for the integrity check."""


# ---------------------------------------------------------------- reading


class ReportReader(Protocol):
    """Read models over roll-ups: their cost does not grow with the number of decisions."""

    async def arm_totals(self, policy: str, since_us: int | None) -> list[Mapping[str, float | str]]:
        """Per arm: arm, decisions, explored, entropy_sum, greedy, rewards, weight, weighted_reward,
        weighted_square, spend_usd, predicted_spend_usd, fixed_cost_usd (what this arm would have cost on
        every decision it was eligible for), fixed_decisions, input_tokens, output_tokens, latency_ms_sum,
        latency_reports, usage_reports, errors, degraded.
        """

    async def contexts(self, policy: str) -> list[Mapping[str, float | str]]:
        """Per (cluster, arm): decisions, rewards, weight, weighted_reward, weighted_square, spend_usd,
        latency_ms_sum, latency_reports.
        """

    async def timeseries(
        self, policy: str, *, since_us: int, until_us: int, step_s: int
    ) -> list[Mapping[str, float | str]]:
        """Per (bucket_at_us, arm) the columns of ``arm_totals``."""

    async def delays(self, policy: str) -> list[tuple[float, int]]:
        """Histogram of reward delay: (upper bound in seconds, count)."""

    async def totals(self) -> Mapping[str, int]:
        """Rows in decision, reward_event, usage_report, queue; for /metrics and readiness."""

    async def search_end(self, filters: DecisionFilter, rows: int) -> str | None:
        """Where a search without an index has to stop: the id ``rows`` decisions back from its cursor, by those
        filters alone that an index serves. None when the log ends before.
        """
