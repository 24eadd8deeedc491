"""Schemas of what can be looked at: decisions, statistics, policies. ``null`` is "not enough data"."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field, StringConstraints

from banditd.web.schemas.arm_states import Away, Change
from banditd.web.schemas.base import (
    MAX_PAGE,
    AnswerModel,
    BooleanParameter,
    Identifier,
    IntegerParameter,
    Label,
    Name,
    OpenAnswerModel,
    ParameterModel,
    RewardSummary,
    TagParameter,
    Time,
    TimeParameter,
)
from banditd.web.schemas.money import Savings
from banditd.web.schemas.promise import PromiseAnswer
from banditd.web.schemas.tags import TagGroup, TagParameters, TagValueAnswer

TRACE_PATTERN: Final = r"^[0-9a-f]{32}$"


class DecisionParameters(ParameterModel):
    """Filters of the decision log."""

    policy: Name | None = None
    arm: Name | None = None
    session_id: Label | None = None
    reference: Label | None = None
    """What their clients call them by, whichever API key they had."""
    request_id: Label | None = None
    """``x-request-id`` of the request."""
    trace_id: Annotated[str, StringConstraints(pattern=TRACE_PATTERN)] | None = None
    """Of its ``traceparent``, or of the daemon's own span."""
    task_id: Label | None = None
    """What agents call the run by, whichever API key they had."""
    cluster: Annotated[IntegerParameter, Field(ge=-1, le=100_000)] | None = None
    """Index of the cluster; -1 for decisions without a context."""
    explored: BooleanParameter | None = None
    text: Label | None = None
    """A part of the query's text, where ``privacy.store_input`` keeps it; A to Z in either case."""
    tag: TagParameter | None = None
    """Only decisions with this tag, such as ``task:summarise``."""
    since: TimeParameter | None = None
    """Made at this time or later."""
    until: TimeParameter | None = None
    """Made before this time."""
    before_id: Identifier | None = None
    """Older than this decision: the ``next_before_id`` of the page before."""
    limit: Annotated[IntegerParameter, Field(ge=1, le=MAX_PAGE)] = 50
    """At most ``server.max_page`` (500 unless configured otherwise)."""


class DecisionSummary(OpenAnswerModel):
    """One line of the decision log."""

    decision_id: Identifier
    policy: str
    arm: str
    created_at: Time
    propensity: float
    explored: bool
    task_id: str | None
    parent_decision_id: str | None


class DamagedDecision(AnswerModel):
    """A row that is not what was committed, and why it cannot be shown."""

    decision_id: str
    reason: str


class DecisionPage(AnswerModel):
    """Decisions, newest first."""

    decisions: list[DecisionSummary]
    damaged: list[DamagedDecision]
    """Rows of this page that cannot be read; ``banditd rebuild`` names every damaged one."""
    next_before_id: str | None
    """Give it as ``before_id`` for the next page; null at the end."""


class DecisionRequest(AnswerModel):
    """What belongs to the request, as the view ``request_log`` joins it. Null is "not known"."""

    request_id: str | None
    trace_id: str | None
    served_arm: str
    release_side: Literal["candidate", "incumbent"] | None
    output_tokens: int | None
    output_chars: int | None
    error: str | None
    finish_reason: str | None
    refusal: bool | None
    """The model declined: as stated, else by the finish reason."""
    regenerated_from: str | None
    """The decision in place of whose answer this one was asked for."""
    regenerated: bool
    """A later decision was asked for in place of this one's answer."""
    escalated_from: str | None
    """The decision whose answer was not enough."""
    escalated_to: str | None
    """Who took over: a decision, or a word."""
    escalated: bool
    judged_score: float | None
    """Mean of the judges' scores."""


class DecisionWhole(DecisionSummary):
    """One decision with its probability vector, rewards (all revisions) and usage."""

    request: DecisionRequest


class StatsParameters(TagParameters):
    """Which policy, over which stretch."""

    window_s: Annotated[IntegerParameter, Field(ge=60, le=315_360_000)] | None = None
    """Only the last so many seconds (in whole buckets of the roll-ups); the whole life when left out."""


class TimeseriesParameters(TagParameters):
    """Which policy, from when to when, how fine."""

    since: TimeParameter | None = None
    """A day before ``until`` when left out."""
    until: TimeParameter | None = None
    """Now when left out."""
    step_s: Annotated[IntegerParameter, Field(ge=300, le=31_536_000)] = 3600
    """Length of a step in seconds; at most 2,000 steps."""


class SnapshotParameters(ParameterModel):
    """How many snapshots."""

    limit: Annotated[IntegerParameter, Field(ge=1, le=MAX_PAGE)] = 50
    """At most ``server.max_page`` (500 unless configured otherwise)."""


class FixedArmComparison(AnswerModel):
    """What sending everything to this arm would have cost."""

    would_have_cost_usd: float | None
    on_decisions: int
    """Over so many decisions: those for which it was eligible, and of them the settled ones where costs are."""
    saved_usd: float | None
    """Null unless it was eligible for all decisions."""
    basis: Literal["settled", "predicted"] | None
    """As in ``saved`` of ``GET /v1/savings``."""
    reason: str | None


class ArmStats(RewardSummary):
    """One arm's row of ``/v1/stats``."""

    arm: str
    present: bool
    """False for an arm that was deleted."""
    decisions: int
    share: float | None
    explored: int
    greedy_decisions: int
    """Decisions in which this arm had the highest utility."""
    coverage: float | None
    spend_usd: float
    """As reported by usage."""
    predicted_spend_usd: float
    mean_latency_ms: float | None
    energy_kwh: float | None
    """Of the reported tokens, by what the arm says it takes; null where it says nothing."""
    errors: int
    fixed: FixedArmComparison
    change: Change | None
    """The change that was found and still holds; null for an arm that is as ever."""
    away: Away | None
    """Why this replica sends it nothing now; null where it may."""


class Entropy(AnswerModel):
    """How spread the selection is, in nats. ``maximum`` is the logarithm of the number of arms."""

    realised: float | None
    """Of the arms' shares."""
    policy_mean: float | None
    """Mean over decisions of the entropy of the probability vector drawn from."""
    maximum: float | None


class Coverage(AnswerModel):
    """How many decisions were rewarded, and how late (percentiles in seconds, from a histogram)."""

    share: float | None
    delay_p50_s: float | None
    delay_p90_s: float | None
    delay_p99_s: float | None
    reason: str | None


class StatsAnswer(RewardSummary):
    """The state of one policy in numbers."""

    policy: str
    window_s: int | None
    since: Time | None
    decisions: int
    exploration_rate: float | None
    """Share of decisions that are not greedy."""
    selection_entropy: Entropy
    degraded: int
    """Decisions without a context."""
    coverage: Coverage
    spend_usd: float
    predicted_spend_usd: float
    arms: list[ArmStats]
    savings: Savings
    changes: list[Change]
    """The last changes and recoveries of arms (at most 50), newest first, whatever the window."""
    promise: PromiseAnswer | None
    """As ``GET /v1/promise``, whatever the window; null for a policy that is not served."""
    tag: TagValueAnswer | None = None
    """Whose decisions these are, where a tag was asked for (delays of rewards and changes are of all)."""
    groups: list[TagGroup] | None = None
    """With ``by``: a group for every value of the tag; most decisions first, values without counters last."""
    without_tag: int | None = None
    """With ``by``: decisions without that tag, or made before tags were counted."""


class TimeseriesStep(RewardSummary):
    """One arm in one step."""

    at: Time
    arm: str | None = None
    """Left out with ``by``: then all arms are added up."""
    tag: str | None = None
    value: str | None = None
    other: bool | None = None
    """With ``by``, all three: the 12 busiest values of the stretch are apart, the others together."""
    decisions: int
    explored: int
    spend_usd: float


class TimeseriesAnswer(AnswerModel):
    """Steps in order of time; steps without decisions are left out."""

    policy: str
    since: Time
    until: Time
    step_s: int
    steps: list[TimeseriesStep]
    tag: TagValueAnswer | None = None
    """Whose decisions these are, where a tag was asked for. By tag, hours are the finest steps."""


class PolicySummary(OpenAnswerModel):
    """One policy."""

    policy: str
    kind: str | None
    served: bool
    """False for a policy that the configuration no longer names."""
    arms: int
    enabled_arms: int
    policy_version: int
    """Of the snapshot that this process serves."""
    stored_version: int


class PoliciesAnswer(AnswerModel):
    """Every policy of this daemon."""

    policies: list[PolicySummary]


class Convergence(AnswerModel):
    """Whether the policy has settled; null is "not enough data"."""

    converged: bool | None
    reason: str
    evidence: OpenAnswerModel


class PolicyReport(OpenAnswerModel):
    """Where a policy stands."""

    policy: str
    policy_version: int | None
    converged: bool | None
    """Null is "not enough data"."""
    convergence: Convergence
    stats: StatsAnswer


class SnapshotRow(OpenAnswerModel):
    """One version of what was learned."""

    version: int
    epoch: int
    folded: int
    """Decisions that this version folded in."""
    created_at: Time


class SnapshotsAnswer(AnswerModel):
    """Newest first."""

    policy: str
    snapshots: list[SnapshotRow]


class HealthAnswer(OpenAnswerModel):
    """Liveness: the process answers. Readiness: and every part it needs does; more with the scope ``read``."""

    status: str
    failing: Annotated[list[str], Field(default_factory=list)]
    """Readiness: the parts that keep it from being ready: database, encoder, policies, draining."""
