"""Protocols of routing and rewards as callers see them, with or without tracing around them."""

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

    decision_id : of the rewarded decision; empty if ``reference`` is given.
    Exactly one of ``value``, ``thumb`` (``up`` | ``down``) and ``retract`` is given.
    body_hash : hash of everything the client sent, without the key; tells a retry from another body.
    key_name : API key that sends it. owner : the same if that key may only reward its own decisions.
    arm : whose answer it is about; None: the arm that served.
    of_judge : whether one of the daemon's judges submits it, rather than a client.
    task : reward all decisions of this task, instead of one decision.
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

    revision : 0 for the first report, plus one for each later report that said something new.
    """

    decision_id: str
    duplicate: bool
    revision: int
    cost_usd: float | None


class Routing(Protocol):
    async def route(self, query: Query) -> Decision:
        """Raises InvalidInputError, NoEligibleArmError, NotFoundError (policy), UnavailableError."""

    async def ahead(self, query: Query) -> Ahead:
        """Like ``route``, but possibly before the commit has finished."""

    async def route_batch(self, queries: list[Query]) -> list[Decision | BanditdError]:
        """One result per query, in order; a query that fails does not affect the others."""

    def recipes_of(self, decision: Decision) -> Mapping[str, Mapping[str, object]]:
        """For each recipe among the decision's arms: what it is made of, with the models to call."""


class Rewards(Protocol):
    async def submit(self, rewards: list[RewardInput]) -> list[RewardReceipt | BanditdError]:
        """One result per reward, in order, after all of them are durable."""

    async def submit_task(self, reward: RewardInput) -> TaskReceipt:
        """Distribute a reward over the decisions of its task. Raises the same errors as a single reward."""

    async def decision_of(self, reference: Reference) -> str:
        """The id of the newest decision with this reference. Raises NotFoundError."""

    async def retract(self, reward_id: str, owner: str | None = None) -> RewardReceipt:
        """Retract a reward; what it taught is unlearned. Raises NotFoundError."""

    async def report_usage(self, report: UsageReport) -> UsageReceipt:
        """Complete or correct what is known of a decision. Raises NotFoundError."""

    async def abandon(
        self, decision_id: str, key: RequestKey | None = None, owner: str | None = None
    ) -> tuple[bool, bool]:
        """Returns (whether it was not abandoned before, whether an earlier request under ``key`` had this answer).

        Raises NotFoundError, ConflictError (it has a reward), ForbiddenError.
        """

    async def activate(
        self, decision_id: str, key: RequestKey | None = None, owner: str | None = None
    ) -> tuple[bool, bool]:
        """Returns (whether it was inactive before, whether an earlier request under ``key`` had this answer).

        Raises NotFoundError, ConflictError.
        """
