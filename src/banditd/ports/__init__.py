"""Floor 2: what the services need from the outside, as protocols. The adapters of floor 4 fill them.

All methods that answer a write return after the write is durable.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from banditd.core.errors import BanditdError
from banditd.core.money import AccountKey, AccountTotals
from banditd.core.references import Reference
from banditd.core.request_keys import RequestKey
from banditd.core.types import Decision, FloatArray
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
from banditd.ports.rewards import DecisionFacts, Judge, RewardLog, StoredReward, Verdict
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
    "DecisionFacts",
    "EstimateDelta",
    "FoldCommit",
    "FoldItem",
    "GuardedOutcome",
    "JobStore",
    "Judge",
    "LearningStore",
    "LeaseStore",
    "Maintenance",
    "PriceCost",
    "PromisedOutcome",
    "RatedOutcome",
    "RecentOutcomes",
    "Revise",
    "RewardLog",
    "Secrets",
    "StatDelta",
    "StoredLearning",
    "StoredReward",
    "StoredSegment",
    "StoredSwitches",
    "SwitchStore",
    "UsageOutcome",
    "Verdict",
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


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionFilter:
    policy: str | None = None
    arm: str | None = None
    session_id: str | None = None
    reference: str | None = None  # of any API key
    request_id: str | None = None
    trace_id: str | None = None
    task_id: str | None = None  # of any API key
    cluster: int | None = None
    explored: bool | None = None
    tag: tuple[str, str] | None = None  # name and value
    text: str | None = None  # a part of the stored text, A to Z in either case
    since_us: int | None = None
    until_us: int | None = None
    before_id: str | None = None  # exclusive cursor: decision ids sort by time
    from_id: str | None = None  # inclusive: where a search without an index stops
    limit: int = 50


# ---------------------------------------------------------------- reading


class ReportReader(Protocol):
    """Read models over roll-ups: their cost does not grow with the number of decisions."""

    async def arm_totals(
        self,
        policy: str,
        since_us: int | None,
        until_us: int | None = None,
        sums: Sequence[str] | None = None,
    ) -> list[Mapping[str, float | str]]:
        """Per arm: arm, decisions, explored, entropy_sum, greedy, rewards, weight, weighted_reward,
        weighted_square, spend_usd, predicted_spend_usd, fixed_cost_usd (what this arm would have cost on
        every decision it was eligible for), fixed_decisions, input_tokens, output_tokens, latency_ms_sum,
        latency_reports, usage_reports, errors, degraded; of settled decisions for which it was listed
        compared_decisions, compared_usd (what they cost) and compared_fixed_usd (what it would have); of those that
        it was drawn for in order to learn tried_decisions, and tried_usd and tried_reward, predicted, beyond what the
        best arm would have cost and earned; and the fields of ``ope.fixed.FixedArmSums``. Of them ``sums`` alone,
        where given.
        """

    async def first_bucket_us(self, policy: str, since_us: int) -> int | None:
        """When the first bucket begins that begins at ``since_us`` or later; None without one."""

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
