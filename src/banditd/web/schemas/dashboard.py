"""Schemas of the dashboard's own endpoints. ``null`` is "not enough data"."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from banditd.web.schemas.arms import Estimate
from banditd.web.schemas.base import (
    MAX_PAGE,
    AnswerModel,
    Identifier,
    IntegerParameter,
    PolicyParameters,
    RewardSummary,
    Time,
)


class MapParameters(PolicyParameters):
    """Which policy, and how many decisions."""

    limit: Annotated[IntegerParameter, Field(ge=1, le=MAX_PAGE)] = 300
    """At most ``server.max_page`` (500 unless configured otherwise)."""


class MapPoint(AnswerModel):
    """One recent decision on the plane."""

    decision_id: Identifier
    at: Time
    arm: str
    cluster: int
    explored: bool
    reward: float | None
    """Its merged reward, as learned; null without one."""
    position: Annotated[list[float], Field(min_length=2, max_length=2)]
    """Scores on the first two principal components of the query's embedding, as they stand in its context."""


class MapAnswer(AnswerModel):
    """Where recent queries lie, newest first. Decisions without a context of today's schema are left out."""

    policy: str
    points: list[MapPoint]


class UpstreamsParameters(PolicyParameters):
    """Which policy, over which stretch."""

    window_s: Annotated[IntegerParameter, Field(ge=60, le=315_360_000)] = 86_400
    """Decisions of the last so many seconds."""


class Quantiles(AnswerModel):
    """Milliseconds."""

    p50: float
    p95: float
    count: int


class Calls(AnswerModel):
    """Calls of upstreams, and how they ended."""

    attempts: int
    ok: int
    errors: dict[str, int]
    """By class: ``transport``, ``timeout``, ``overload``, ``server``, ``auth``, ``request``, ``context``, ``policy``,
    ``client_gone``; only those that occurred."""
    error_share: float | None
    """Of all attempts; a client that hung up is no error. Null without attempts."""
    first_token_ms: Quantiles | None
    """Of streams that were answered."""
    latency_ms: Quantiles | None
    """To the last token, of those that were answered."""
    cost_usd: float


class UpstreamCalls(Calls):
    """All calls of one upstream."""

    upstream: str | None
    """Null: clients called these arms themselves, and told of it."""
    arms: list[str]


class ArmCalls(Calls):
    """All calls of one arm."""

    arm: str
    upstream: str | None


class UpstreamsAnswer(Calls):
    """What the settled decisions of a stretch took in calls of upstreams, and how these ended."""

    policy: str
    window_s: float
    truncated: bool
    """There were more than the newest 10,000 attempts, which are counted here."""
    gateway: bool
    """Whether the gateway is on."""
    open: int
    """Requests to the gateway that run in this process now, of all policies."""
    calls: int
    """Decisions with an attempt."""
    fallbacks: int
    """Of these: another arm than the chosen one answered."""
    failed: int
    """Of these: nobody answered, and the client had not hung up."""
    upstreams: list[UpstreamCalls]
    """Most attempts first; configured ones that were not called, too."""
    by_arm: list[ArmCalls]


class ChoiceArm(AnswerModel):
    """One enabled arm on a cluster's mean query."""

    arm: str
    mean: float
    """Predicted reward, as it decides: it may leave [0, 1]."""
    deviation: float
    """Standard deviation of that prediction."""
    cost_usd: float
    """Predicted cost of a typical query. US dollars."""
    penalty: float
    """What money takes away, in units of reward."""
    utility: float
    """``mean - penalty``."""
    probability: float
    """With which it would be drawn now."""


class ClusterChoice(AnswerModel):
    """What the policy would do with a cluster's mean query."""

    cluster: int
    arm: str
    """The most probable one."""
    arms: list[ChoiceArm]


class ChoicesAnswer(AnswerModel):
    """Per cluster seen so far: what would be chosen now, were a request to constrain nothing."""

    policy: str
    policy_version: int
    clusters: list[ClusterChoice]


Pair: TypeAlias = Annotated[list[float], Field(min_length=2, max_length=2)]


class OnOneScale(AnswerModel):
    """What an item-response model says of an arm or a cluster; null without data behind it."""

    rewards: int
    standard_error: float | None
    """Logits."""
    interval: Pair | None
    """95 % interval, logits."""
    expected_interval: Pair | None
    """95 % interval of ``expected_reward``."""
    reason: str | None
    """Why there is nothing, where there is nothing."""


class ArmAbility(OnOneScale):
    """One arm. 0 is the ability that earns half of the reward on a cluster of mean difficulty."""

    arm: str
    ability: float | None
    """Logits."""
    expected_reward: float | None
    """Mean reward in [0, 1], were it to answer the traffic of all clusters that compare."""


class ClusterDifficulty(OnOneScale):
    """One cluster of queries. 0 is the mean of those that compare; a higher one is more difficult."""

    cluster: int
    name: str
    name_source: Literal["user", "tags", "shipped"]
    words: list[str]
    difficulty: float | None
    """Logits: an arm of this ability earns half of the reward."""
    expected_reward: float | None
    """Mean reward in [0, 1] of the average arm here."""


class ItemMisfit(AnswerModel):
    """How far one number per arm and one per cluster fall short of what was seen."""

    ratio: float
    """Pearson's chi-squared over its degrees of freedom, about 1 where they tell all."""
    p_value: float
    """Probability of as much by chance, where they tell all."""


class AbilitiesAnswer(AnswerModel):
    """``log(P / (1 - P)) = ability - difficulty``; P: mean reward of an arm on a cluster, over the log's life."""

    policy: str
    arms: list[ArmAbility]
    """The ablest first."""
    clusters: list[ClusterDifficulty]
    """The most difficult first."""
    misfit: ItemMisfit | None
    """Null where there is no spare cell to tell it by."""


class FixedArm(AnswerModel):
    """Sending everything to one arm."""

    arm: str
    enabled: bool
    reward: Estimate
    """Expected on all traffic so far, by the model."""
    cost_usd: float | None
    """Mean predicted cost of a decision, over those it was eligible for."""


class FixedMixture(AnswerModel):
    """The best random mix of fixed arms at the predicted cost of what was played."""

    reward: float
    cost_usd: float
    shares: dict[str, float]


class PriorScales(AnswerModel):
    """Standard deviations of effects on the reward, per feature group, as the evidence had chosen them."""

    version: int
    at: Time
    shared: dict[str, float]
    """Of what the arms have in common: how much the queries' difficulty depends on the group."""
    own: dict[str, float]
    """Of what sets the arms apart: how much the choice of the arm depends on the group."""


class ArmWatch(AnswerModel):
    """How close the change detector is to an alarm."""

    arm: str
    evidence_nats: float
    """For a change, against none; an alarm at ``alarm_nats``."""
    rewards: int
    """It was tested on since the last alarm; below 30 it is not judged."""


class LearningAnswer(RewardSummary):
    """What was learned: against the fixed arms, over time, and whether the arms are as ever."""

    policy: str
    policy_version: int
    cost_usd: float | None
    """Mean predicted cost of a decision."""
    played: Estimate | None
    """Expected reward of the arms as they were played on the clusters, by the model: what ``fixed`` compares with."""
    fixed: list[FixedArm]
    mixture: FixedMixture | None
    scales: list[PriorScales]
    """Oldest first; at most 120, spread over the time of the snapshots that are kept."""
    alarm_nats: float
    watch: list[ArmWatch]
