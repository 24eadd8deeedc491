"""The walk of a query and the walk of a reward as their callers see them, whether or not spans are around them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from banditd.core.errors import BanditdError
from banditd.core.references import Reference
from banditd.core.request_keys import RequestKey
from banditd.core.rewards import RewardReceipt, TaskName, TaskReceipt, UsageReport
from banditd.core.types import Decision, Query
from banditd.services.turns import Ahead


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardInput:
    """One reward as a client gives it, before its source's scale is applied.

    decision_id : of what it is for; empty where a ``reference`` says it.
    Exactly one of ``value``, ``thumb`` (``up`` | ``down``) and ``retract`` is given.
    body_hash : hash of all that the client said, without the key: tells a retry from another body.
    key_name : the API key that sends it. owner : the same where it may reward its own decisions only.
    arm : whose answer it is about; None: of the one that served.
    of_judge : one of the daemon's judges says it, not a client. task : of whose decisions it is, in place of one.
    """

    decision_id: str = ""
    reference: Reference | None = None
    value: float | None = None
    thumb: str | None = None
    metric: str = "quality"
    source: str = "human"
    retract: bool = False
    idempotency_key: str | None = None
    metadata: Mapping[str, object] = field(default_factory=dict)
    body_hash: str = ""
    key_name: str | None = None
    owner: str | None = None
    arm: str | None = None
    of_judge: bool = False
    task: TaskName | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageReceipt:
    """What became of a usage report. ``cost_usd`` is None while neither dollars nor tokens of the answer are known.

    revision : 0 for the first report, then one more for every one that told something new.
    """

    decision_id: str
    duplicate: bool
    revision: int
    cost_usd: float | None


class Routing(Protocol):
    async def route(self, query: Query) -> Decision:
        """Raises InvalidInputError, NoEligibleArmError, NotFoundError (policy), UnavailableError."""

    async def ahead(self, query: Query) -> Ahead:
        """Like ``route``, while the commit is under way."""

    async def route_batch(self, queries: list[Query]) -> list[Decision | BanditdError]:
        """One result per query, in order; a failure of one leaves the others alone."""

    def recipes_of(self, decision: Decision) -> Mapping[str, Mapping[str, object]]:
        """What the recipes among the decision's arms are made of, by name, with the models to call."""


class Rewards(Protocol):
    async def submit(self, rewards: list[RewardInput]) -> list[RewardReceipt | BanditdError]:
        """One result per reward, in order, after all of them are durable."""

    async def submit_task(self, reward: RewardInput) -> TaskReceipt:
        """Share a reward out to the decisions of its task. Raises what a reward raises."""

    async def decision_of(self, reference: Reference) -> str:
        """The id of the newest decision that the reference means. Raises NotFoundError."""

    async def retract(self, reward_id: str, owner: str | None = None) -> RewardReceipt:
        """Take a reward back; what it taught is unlearned. Raises NotFoundError."""

    async def report_usage(self, report: UsageReport) -> UsageReceipt:
        """Complete or correct what is known of a decision. Raises NotFoundError."""

    async def abandon(
        self, decision_id: str, key: RequestKey | None = None, owner: str | None = None
    ) -> tuple[bool, bool]:
        """(whether it was not abandoned before, whether an earlier request under ``key`` was answered so).

        Raises NotFoundError, ConflictError (it has a reward), ForbiddenError.
        """

    async def activate(
        self, decision_id: str, key: RequestKey | None = None, owner: str | None = None
    ) -> tuple[bool, bool]:
        """(whether it was inactive before, whether an earlier request under ``key`` was answered so).

        Raises NotFoundError, ConflictError.
        """
