"""Schemas of arms."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, JsonValue, StringConstraints, model_validator

from banditd.core.calls import MAX_PARAMS, check_params
from banditd.core.recipes import MOST_PARTS, Comparison, RecipeKind
from banditd.core.types import QualityTier
from banditd.web.schemas.base import (
    AnswerModel,
    Dollars,
    ModelName,
    Name,
    OpenAnswerModel,
    RequestModel,
    Time,
    TimeParameter,
    UnitInterval,
)

_Parameter = Annotated[str, StringConstraints(min_length=1, max_length=128)]
_Latency = Annotated[float, Field(ge=0.0, le=1e9)]
_Energy = Annotated[float, Field(ge=0.0, le=1e9)]
_Count = Annotated[int, Field(ge=0, le=1_000_000_000)]
_Capabilities = Annotated[list[Name], Field(max_length=64)]


class PriceRequest(RequestModel):
    """List price. US dollars. When an arm is patched, what is left out stays."""

    usd_per_mtok_in: Dollars = 0.0
    """Per million input tokens."""
    usd_per_mtok_out: Dollars = 0.0
    """Per million output tokens."""
    usd_per_request: Dollars = 0.0
    usd_per_mtok_cached_in: Dollars | None = None
    """Per million input tokens that the provider had cached; null: they cost like other input."""
    valid_from: TimeParameter | None = None
    """When the price begins, in the future; at once when left out. Only for a patch."""


class RecipeRequest(RequestModel):
    """What an arm is made of that is no model: models of the same policy, and whose answer counts."""

    kind: RecipeKind
    """``agree``: the members are asked at once; equal answers are the answer, else ``else`` is asked.
    ``best_of``: all are asked; what most of them say is the answer.
    ``fallback``: one after the other, until one gives an answer."""
    members: Annotated[list[Name], Field(min_length=2, max_length=MOST_PARTS)]
    otherwise: Name | None = Field(None, alias="else")
    """Of ``agree``: the arm that is asked where the members differ."""
    answers: Comparison = "auto"
    """How answers are compared. ``auto``: tool calls, JSON, letters and numbers as such, else as texts."""


class ArmFields(RequestModel):
    """What may be said of an arm when it is added or changed."""

    provider: Annotated[str, Field(max_length=128, pattern=r"^[^\x00-\x1f\x7f]*$")] = ""
    price: PriceRequest = PriceRequest()
    enabled: bool = True
    """A disabled arm is never chosen; what it has learned stays."""
    capabilities: _Capabilities = Field(default_factory=list)
    """Tags that a request may ask for, such as ``vision``."""
    context_window_tokens: Annotated[int, Field(ge=1, le=1_000_000_000)] | None = None
    """Longer prompts exclude this arm."""
    quality_prior: UnitInterval | None = None
    """Expected reward before any data; null for the policy's common prior."""
    prior_worth: Annotated[float, Field(gt=0.0, le=1e6)] = 10.0
    """How many rewards that expectation is worth."""
    quality_tier: QualityTier | None = None
    """A guess of how good it is, worth a few rewards; it replaces the guess from the price."""
    expected_output_tokens: Annotated[float, Field(ge=0.0, le=1e9)] = 400.0
    """Assumed until usage reports say otherwise."""
    expected_latency_ms: _Latency | None = None
    min_share: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Least probability of the arm where it may answer."""
    max_share: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """Traffic cap: at most this share of the decisions."""
    kwh_per_mtok_in: _Energy = 0.0
    """Energy per million input tokens. Kilowatt-hours; counts where the policy's ``resources`` give it a price."""
    kwh_per_mtok_out: _Energy = 0.0
    onboarding_decisions: _Count = 20
    """A new arm gets its minimum share until it has served this many decisions. 0 switches it off."""
    onboarding_usd: Dollars = 1.0
    """... or until it has cost this much. US dollars."""
    upstream: Name | None = None
    """A configured upstream, by name: the gateway calls it. Null: only ``/v1/route`` gives this arm. Never a URL."""
    params: Annotated[dict[str, JsonValue], Field(max_length=MAX_PARAMS)] = Field(default_factory=dict)
    """Request parameters that the gateway sends for this arm, whatever the client says; null takes one out."""
    rename_params: Annotated[dict[str, _Parameter], Field(max_length=MAX_PARAMS)] = Field(default_factory=dict)
    """Parameters that this model calls by another name: the client's name to the model's."""
    first_token_s: Annotated[float, Field(gt=0.0, le=1e6)] | None = None
    """Longest wait for its first token, in seconds; null: its upstream's."""
    recipe: RecipeRequest | None = None
    """What the arm is made of; null: it is a model. A recipe has no price, upstream or capabilities of its own: they
    follow from its parts. It stays what it is: only the same may be given again."""

    @model_validator(mode="after")
    def _check_params(self) -> Self:
        check_params(self.params, self.rename_params)
        return self


class ArmRequest(ArmFields):
    """A new arm."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"arm": "small", "upstream_model": "vendor/small-1", "price": {"usd_per_mtok_in": 0.1}}]
        }
    )

    arm: Name
    upstream_model: ModelName | None = None
    """The name to call the model by; the arm's own name when left out."""
    keep_statistics: bool = False
    """Under the name of a deleted arm: go on with what that one has learned, instead of beginning anew."""


class ArmPatch(ArmFields):
    """Changes to an arm. Only what is given changes."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    upstream_model: ModelName = ""


class PriceAnswer(AnswerModel):
    """List price. US dollars."""

    usd_per_mtok_in: float
    usd_per_mtok_out: float
    usd_per_request: float
    usd_per_mtok_cached_in: float | None


class PriceSince(PriceAnswer):
    """A price and when it begins; the last ones may lie in the future."""

    since: Time


class UsageTotals(AnswerModel):
    """Totals of an arm over its life."""

    decisions: int
    usage_reports: int
    input_tokens: int
    output_tokens: int
    cached_input_tokens: int
    cost_usd: float
    mean_latency_ms: float | None
    errors: int


class ArmStatistics(OpenAnswerModel):
    """The arm's row of ``/v1/stats`` over its life."""


class Estimate(AnswerModel):
    """Posterior mean with its 95 % interval."""

    mean: float
    interval: list[float]


class OnboardingClusters(AnswerModel):
    """Clusters of queries."""

    seen: int
    """That had any traffic."""
    leads: int
    """Where its predicted utility is the highest."""
    contends: int
    """Where it leads, or is the best with a probability above 5 %."""
    contends_share: float


class Onboarding(OpenAnswerModel):
    """How much of its quota a new arm has used, and what became of it.

    What follows ``cost_usd_quota`` is null for an arm that was never granted a quota (it came with the policy, or its
    quota is 0); the estimates also without traffic or other arms to compare with.
    """

    active: bool
    """Whether it gets its minimum share now."""
    decisions: int
    decisions_quota: int
    cost_usd: float
    """All that it has cost so far."""
    cost_usd_quota: float
    state: Literal["onboarding", "graduated", "not_adopted"] | None
    """``onboarding`` until the quota is used and 5 of its decisions are rewarded; then ``graduated`` where it
    contends in some cluster, else ``not_adopted``."""
    rewards: int | None
    """Of its decisions that are rewarded."""
    reward: Estimate | None
    """Expected reward had it answered all traffic so far."""
    incumbents: Estimate | None
    """The same of the other enabled arms without a quota left, as they share the traffic of each cluster."""
    difference: Estimate | None
    clusters: OnboardingClusters | None
    recommendation: str | None
    """What to do now, in one sentence."""


class RecipeAnswer(AnswerModel):
    """What an arm is made of."""

    kind: RecipeKind
    members: list[str]
    otherwise: str | None = Field(alias="else")
    """Of ``agree``: the arm that is asked where the members differ."""
    answers: Comparison


class ArmAnswer(AnswerModel):
    """An arm with everything known about it."""

    policy: str
    arm: str
    upstream_model: str
    provider: str
    price: PriceAnswer
    enabled: bool
    capabilities: list[str]
    context_window_tokens: int | None
    quality_prior: float | None
    prior_worth: float
    quality_tier: str | None
    expected_output_tokens: float
    expected_latency_ms: float | None
    min_share: float
    max_share: float
    kwh_per_mtok_in: float
    kwh_per_mtok_out: float
    onboarding_decisions: int
    onboarding_usd: float
    upstream: str | None
    params: dict[str, JsonValue]
    rename_params: dict[str, str]
    first_token_s: float | None
    recipe: RecipeAnswer | None
    """Null for a model."""
    generation: int
    """1, and one more whenever it began anew under the name of a deleted arm."""
    created_at: Time
    updated_at: Time
    usage: UsageTotals
    statistics: ArmStatistics
    price_history: list[PriceSince]
    onboarding: Onboarding


class ArmListAnswer(AnswerModel):
    """All arms of a policy, in the order of addition."""

    policy: str
    arms: list[ArmAnswer]
    positions: dict[str, int]
    """The place of every arm that the policy ever had, deleted ones too, 1 for the first: it never changes,
    so a colour that goes by it stays with its arm."""
