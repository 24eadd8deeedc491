"""The reward log as the services need it, and what must be known to judge what is submitted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from banditd.core.errors import BanditdError
from banditd.core.request_keys import RequestKey
from banditd.core.rewards import RewardReceipt, RewardSubmission, TaskName, TaskReceipt, UsageReport
from banditd.core.types import Arm
from banditd.core.usage import Settled

PriceCost = Callable[[Arm, UsageReport], float | None]
"""Dollars of one call: as told, else of its tokens at the arm's price; None without either."""


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

    arm : that it names. apart : whether it is of an arm that had not served when it came, or by the task.
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
    noise_variance: float = 0.0
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

    async def reward_task(
        self, task: TaskName, submission: RewardSubmission, judge: Judge, key: RequestKey | None
    ) -> TaskReceipt:
        """Give every decision that the task has now its share, in one transaction; once where there is a key.

        ``judge`` is asked for each of them, as for a reward of its own. Raises NotFoundError for a task without
        decisions, InvalidInputError for one with too many, ConflictError for another request under the key, and what
        ``judge`` refuses where no decision may take it.
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
