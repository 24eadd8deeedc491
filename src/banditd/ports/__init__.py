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
    Decision,
    FloatArray,
    RewardReceipt,
    RewardSubmission,
    UsageReport,
)
from banditd.core.usage import Settled
from banditd.ports.arms import ArmChange, ArmStore, Check, Revise
from banditd.ports.learning import (
    EstimateDelta,
    FoldCommit,
    FoldItem,
    LearningStore,
    StatDelta,
    StoredLearning,
    StoredSegment,
)
from banditd.ports.operations import PRUNED_CURSOR, BudgetStore, CorrectionStore, JobStore, LeaseStore, Maintenance
from banditd.ports.outcomes import GuardedOutcome, PromisedOutcome, RatedOutcome, RecentOutcomes, UsageOutcome
from banditd.ports.reading import DecisionFilter, ReportReader
from banditd.ports.secrets import Secrets
from banditd.ports.switches import StoredSwitches, SwitchStore
from banditd.ports.usage import PriceCost

__all__ = [
    "PRUNED_CURSOR",
    "ArmChange",
    "ArmStore",
    "BudgetStore",
    "Check",
    "CorrectionStore",
    "DecisionFilter",
    "EstimateDelta",
    "FoldCommit",
    "FoldItem",
    "GuardedOutcome",
    "JobStore",
    "LearningStore",
    "LeaseStore",
    "Maintenance",
    "PriceCost",
    "PromisedOutcome",
    "RatedOutcome",
    "RecentOutcomes",
    "ReportReader",
    "Revise",
    "Secrets",
    "StatDelta",
    "StoredLearning",
    "StoredSegment",
    "StoredSwitches",
    "SwitchStore",
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
class SessionArm:
    """The arm that a session was given last, and when."""

    arm: str
    updated_at_us: int


@dataclass(frozen=True, slots=True)
class Committed:
    """What became of decisions that were to be committed.

    refused : decision id to the account whose limit it would have exceeded; of such a decision nothing is stored.
    repeated : decision id to what its request key was used for before: the decision that was made then, or a
        ConflictError for another request. Nothing is stored either.
    accounts : what stands on the accounts that the decisions are charged to, others' decisions included.
    failed : decision id to why it could not be stored, where that was no fault of the others.
    """

    refused: Mapping[str, AccountKey] = field(default_factory=dict)
    repeated: Mapping[str, Decision | BanditdError] = field(default_factory=dict)
    accounts: Mapping[AccountKey, AccountTotals] = field(default_factory=dict)
    failed: Mapping[str, Exception] = field(default_factory=dict)

    @property
    def not_made(self) -> frozenset[str]:
        """Ids of the decisions that were not stored."""
        return frozenset((*self.refused, *self.repeated, *self.failed))

    def beside(self, other: Committed) -> Committed:
        """What became of both parts of what was to be committed."""
        return Committed(
            {**self.refused, **other.refused},
            {**self.repeated, **other.repeated},
            {**self.accounts, **other.accounts},
            {**self.failed, **other.failed},
        )


class DecisionLog(Protocol):
    @property
    def columns(self) -> Mapping[str, str]:
        """Every column of ``stream``, and its Arrow type or ``json``."""

    async def append(self, decisions: Sequence[Decision]) -> Committed:
        """Commit decisions (what they add to counters, charges, keys) durably; concurrent calls share a commit."""

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

    async def session(self, policy: str, session_id: str) -> SessionArm | None:
        """The same with the time of it."""

    async def session_arm(self, policy: str, session_id: str) -> str | None:
        """The arm that this session was given last (with sessions written by ``append``)."""

    async def activate(
        self, decision_id: str, at_us: int, key: RequestKey | None = None, owner: str | None = None
    ) -> tuple[bool, bool]:
        """Activate a deferred decision and release its held rewards to the learner. What was given back of its
        estimate is charged again.

        Returns (whether it was inactive before, whether that is the answer to an earlier request under ``key``).
        Raises NotFoundError, ConflictError for another request under the key.
        """


# ---------------------------------------------------------------- rewards
@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionFacts:
    """What must be known of a decision to judge a reward or a usage report.

    served_arm, arms : known where a reward names an arm only; None: the chosen arm served; its row cannot be read.
    """

    decision_id: str
    policy: str
    arm: str
    created_at_us: int
    expires_at_us: int
    deferred: bool
    activated: bool
    key_name: str | None = None
    abandoned: bool = False
    served_arm: str | None = None
    arms: tuple[str, ...] | None = None  # all of its policy when it was made


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredReward:
    """The newest revision under one identity.

    arm : that it names. apart : whether it is of an arm that had not served when it came.
    """

    reward_id: str
    decision_id: str
    revision: int
    kind: str
    status: str
    value: float | None
    reward: float | None
    body_hash: str
    late: bool
    arm: str | None = None
    apart: bool = False


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
        ``recorded`` also puts its decision into the learner's queue, in the same transaction. One of an arm that has
        not served is kept apart from the decision's own.
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

    async def abandon(
        self, decision_id: str, at_us: int, key: RequestKey | None = None, owner: str | None = None
    ) -> tuple[bool, bool]:
        """Mark a decision as never served: its estimate leaves every account, nothing of it is learned.

        Returns and raises as ``DecisionLog.activate``; ConflictError once it has a reward too.
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
