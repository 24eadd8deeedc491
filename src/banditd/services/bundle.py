"""What the services offer to the layer above: protocols, the values that cross, and the bundle of them.

Not an implementation: ``daemon.open`` fills the bundle, ``web/`` and ``cli/`` call it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from banditd.core.errors import BanditdError
from banditd.core.references import Reference
from banditd.core.request_keys import RequestKey
from banditd.core.rewards import TaskName, TaskReceipt
from banditd.core.types import Arm, ArmUsage, Decision, Price, Query, RewardReceipt, UsageReport
from banditd.ports import DecisionFilter
from banditd.ports.tags import TagValue
from banditd.services.anchoring.offered import Anchors, Drift
from banditd.services.candidates.offered import Candidates, Evaluations
from banditd.services.comparisons import Judges
from banditd.services.conversation_names import ConversationNames
from banditd.services.gateway.call import GatewayCall
from banditd.services.gateway.counting import Counted
from banditd.services.gateway.exchange import Exchange
from banditd.services.looks import Abilities, Dashboard
from banditd.services.money.corrections import CorrectionInput
from banditd.services.releasing.offered import Releases
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
class FeedbackLink:
    """What a link stands for: two values (thumb up, thumb down) of one metric, from one source, for one decision.

    question, up, down : words of the page, empty for its own.
    """

    decision_id: str
    expires_at_us: int
    metric: str = "quality"
    source: str = "human"
    question: str = ""
    up: str = ""
    down: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageReceipt:
    """What became of a usage report. ``cost_usd`` is None while neither dollars nor tokens of the answer are known.

    revision : 0 for the first report, then one more for every one that told something new.
    """

    decision_id: str
    duplicate: bool
    revision: int
    cost_usd: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmView:
    """An arm with everything known about it.

    statistics : rewards, mean reward with its interval, shares: what ``services.arms`` computes.
    price_history : (since, price), oldest first; microseconds since the epoch.
    onboarding : how much of its quota a new arm has used, and what became of it (``services.onboarding``).
    duplicate : the change was made before, under the same request key; ``arm`` is as that left it.
    """

    arm: Arm
    usage: ArmUsage
    statistics: Mapping[str, object] = field(default_factory=dict)
    price_history: Sequence[tuple[int, Price]] = ()
    onboarding: Mapping[str, object] = field(default_factory=dict)
    duplicate: bool = False


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


class Arms(Protocol):
    async def list(self, policy: str) -> list[ArmView]: ...

    async def positions(self, policy: str) -> Mapping[str, int]: ...

    async def get(self, policy: str, arm: str) -> ArmView:
        """Raises NotFoundError."""

    async def add(self, arm: Arm, key: RequestKey | None = None, *, anew: bool = True) -> ArmView:
        """Raises ConflictError when it exists, NotFoundError for an unknown policy."""

    async def patch(
        self,
        policy: str,
        arm: str,
        changes: Mapping[str, object],
        *,
        price_from_us: int | None = None,
        key: RequestKey | None = None,
    ) -> ArmView:
        """``changes`` maps fields of ``Arm`` to new values; ``price`` is a ``Price``, or a mapping of those of its
        fields that change.

        price_from_us : when that price begins, in the future; None: now.
        """

    async def delete(self, policy: str, arm: str, key: RequestKey | None = None) -> bool:
        """Its statistics stay. True when that was done before, under the same key. Raises NotFoundError."""


class Reports(Protocol):
    async def stats(self, policy: str, window_s: int | None) -> Mapping[str, object]: ...

    async def contexts(self, policy: str) -> Mapping[str, object]: ...

    async def timeseries(
        self, policy: str, since_us: int | None, until_us: int | None, step_s: int
    ) -> Mapping[str, object]: ...

    async def decisions(self, filters: DecisionFilter) -> Mapping[str, object]: ...

    async def decision(self, decision_id: str) -> Mapping[str, object]:
        """Raises NotFoundError."""

    async def policies(self) -> Mapping[str, object]: ...

    async def policy_report(self, policy: str) -> Mapping[str, object]: ...

    async def snapshots(self, policy: str, limit: int) -> Mapping[str, object]: ...


class Tags(Protocol):
    """Reports that may be of one value of a tag (``of``, as ``name:value``) or by the values of a tag (``by``)."""

    async def tags(self, policy: str) -> Mapping[str, object]: ...

    async def value_of(self, policy: str, text: str) -> TagValue: ...

    async def stats(
        self, policy: str, window_s: int | None, *, of: str | None = None, by: str | None = None
    ) -> Mapping[str, object]: ...

    async def savings(
        self,
        policy: str,
        since_us: int | None,
        until_us: int | None,
        step_s: int | None = None,
        *,
        of: str | None = None,
        by: str | None = None,
    ) -> Mapping[str, object]: ...

    async def timeseries(
        self,
        policy: str,
        since_us: int | None,
        until_us: int | None,
        step_s: int,
        *,
        of: str | None = None,
        by: str | None = None,
    ) -> Mapping[str, object]: ...

    async def contexts(
        self, policy: str, *, of: str | None = None, by: str | None = None
    ) -> Mapping[str, object]: ...

    async def rename(self, policy: str, cluster: int, name: str | None) -> Mapping[str, object]:
        """Raises NotFoundError, InvalidInputError."""


class Budgets(Protocol):
    async def budgets(self, policy: str) -> Mapping[str, object]:
        """Every budget with its accounts. Raises NotFoundError."""


class Corrections(Protocol):
    async def correct(self, requested: CorrectionInput) -> Mapping[str, object]:
        """Correct an account once. Raises NotFoundError, ConflictError, InvalidInputError."""


class Promises(Protocol):
    def promise(self, policy: str) -> Mapping[str, object]:
        """How the policy's promise stands. Raises NotFoundError."""

    async def change(self, policy: str, changes: Mapping[str, object]) -> Mapping[str, object]:
        """Change ``rollout``, ``mode``, ``promise`` durably; gives how it stands. Raises NotFoundError,
        InvalidInputError.
        """


class Health(Protocol):
    async def readiness(self) -> tuple[bool, dict[str, object]]:
        """Whether this process should get traffic, and every part's state."""


class Gateway(Protocol):
    def exchange(self, call: GatewayCall) -> Exchange:
        """One request and its answer; nothing has happened yet."""

    async def settled(self) -> None:
        """Wait for the settlements that are under way."""

    def answering(self, reference: Reference) -> Exchange | None:
        """The exchange whose answer has this id and is not stored yet."""

    async def count_tokens(self, call: GatewayCall) -> Counted:
        """How many tokens a request has. Nothing is recorded."""

    def policies(self) -> Mapping[str, Mapping[str, bool]]:
        """Every policy with the names of its arms, and whether the gateway can call them now."""


class Feedback(Protocol):
    async def link(
        self,
        decision_id: str,
        *,
        metric: str,
        source: str | None,
        expires_in_s: float | None,
        words: tuple[str, str, str],
        owner: str | None,
    ) -> tuple[str, int]:
        """(token of a new link, when it ends in microseconds). Raises NotFoundError, ForbiddenError,
        InvalidInputError.
        """

    def link_of(self, decision: Decision) -> str:
        """The token of a link for a decision that was made just now."""

    def read(self, token: str) -> FeedbackLink:
        """What a token stands for. Raises NotFoundError, GoneError."""

    async def vote(self, link: FeedbackLink, thumb: str) -> RewardReceipt:
        """Count a vote (``up`` or ``down``), in place of an earlier one. Raises what a reward raises."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Everything that a request handler may call. ``gateway``: None where it is off. ``judges``: without any."""

    routing: Routing
    rewards: Rewards
    arms: Arms
    reports: Reports
    tags: Tags
    budgets: Budgets
    corrections: Corrections
    dashboard: Dashboard
    abilities: Abilities
    health: Health
    promises: Promises
    gateway: Gateway | None = None
    conversations: ConversationNames | None = None
    feedback: Feedback | None = None
    judges: Judges | None = None
    candidates: Candidates | None = None
    evaluations: Evaluations | None = None
    releases: Releases | None = None
    drift: Drift | None = None
    anchors: Anchors | None = None
