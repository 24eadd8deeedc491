"""Floor 2: what the services need from outside, as protocols. The adapters of floor 4 implement them.

All methods that confirm a write return after the write is durable.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
from banditd.ports.operations import (
    PRUNED_CURSOR,
    BudgetStore,
    CorrectionStore,
    JobStore,
    LeaseStore,
    Maintenance,
    Secrets,
    StoredSwitches,
    SwitchStore,
)
from banditd.ports.outcomes import GuardedOutcome, PromisedOutcome, RatedOutcome, RecentOutcomes, UsageOutcome
from banditd.ports.reading import DecisionFilter, ReportReader
from banditd.ports.rewards import DecisionFacts, Judge, PriceCost, RewardLog, StoredReward, Verdict

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


class RoutingLog(Protocol):
    """What the walk of a query asks of the log of decisions."""

    async def append(self, decisions: Sequence[Decision], committing: Callable[[], None] | None = None) -> Committed:
        """Commit decisions (what they add to counters, charges, keys) durably; concurrent calls share a commit.

        committing : called in the event loop while the disk is waited for; not at all, or again, where that fails.
        """

    async def repeated(self, keys: Sequence[tuple[str, RequestKey]]) -> Sequence[Decision | BanditdError | None]:
        """What each (policy, key) was used for before, as ``Committed.repeated`` has it; None for a new key."""

    async def session_arm(self, policy: str, session_id: str) -> str | None:
        """The arm that this session was given last (with sessions written by ``append``)."""

    async def session(self, policy: str, session_id: str) -> SessionArm | None:
        """The same with the time of it."""


class DecisionLog(RoutingLog, Protocol):
    async def get(self, decision_id: str) -> Mapping[str, object] | None:
        """One decision whole: its row, reward events (all revisions), usage report, contribution."""

    async def page(self, filters: DecisionFilter) -> Sequence[Mapping[str, object]]:
        """Newest first."""

    async def find_reference(self, reference: Reference) -> str | None:
        """The id of the newest decision that the reference means, None without one."""

    async def activate(
        self, decision_id: str, at_us: int, key: RequestKey | None = None, owner: str | None = None
    ) -> tuple[bool, bool]:
        """Activate a deferred decision and release its held rewards to the learner. What was given back of its
        estimate is charged again.

        Returns (whether it was inactive before, whether that is the answer to an earlier request under ``key``).
        Raises NotFoundError, ConflictError for another request under the key.
        """
