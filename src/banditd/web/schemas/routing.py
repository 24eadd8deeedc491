"""Schemas of ``POST /v1/route`` and ``/v1/route/batch``."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, JsonValue, StringConstraints, model_validator

from banditd.core.recipes import Comparison, RecipeKind
from banditd.web.schemas.base import (
    MAX_BATCH,
    MAX_EMBEDDING,
    MAX_FEATURES,
    MAX_LIST,
    MAX_TAGS,
    MAX_TEXT_CHARS,
    AnswerModel,
    DecisionName,
    Dollars,
    Identifier,
    Name,
    Names,
    OptionalLabel,
    RequestModel,
    Text,
    Time,
    UnitInterval,
)
from banditd.web.schemas.problem import ItemError
from banditd.web.schemas.promise import DecisionPromise, Keep

_PartText = Annotated[str, StringConstraints(max_length=MAX_TEXT_CHARS)]
# A client's own number: bounded so that no sum of squares overflows.
Bounded = Annotated[float, Field(ge=-1e6, le=1e6)]


class ContentPart(RequestModel):
    """A part of a message as OpenAI writes it. Only ``text`` is read, and the texts in a tool's result."""

    model_config = ConfigDict(extra="allow")

    type: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    text: _PartText | None = None


class Message(RequestModel):
    """A chat message as OpenAI writes it. Fields that routing does not need are accepted and ignored."""

    model_config = ConfigDict(extra="allow")

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: _PartText | Annotated[list[ContentPart], Field(max_length=MAX_LIST)] | None = None


class QueryOptions(RequestModel):
    """What any query may say to banditd beside its text, over ``/v1/route`` or the gateway."""

    policy: Name | None = None
    """Which policy decides."""
    candidates: Annotated[list[Name], Field(min_length=1, max_length=MAX_LIST)] | None = None
    """Only these arms may be chosen."""
    excluded_arms: Names | None = None
    """These arms may not be chosen."""
    capabilities: Annotated[list[Name], Field(max_length=64)] | None = None
    """The arm must have all of these capability tags."""
    max_cost_usd: Dollars | None = None
    """Exclude arms whose predicted cost of this query is higher. US dollars."""
    max_latency_ms: Annotated[float, Field(gt=0.0, le=1e9)] | None = None
    """Exclude arms whose expected latency is higher. Milliseconds."""
    quality_floor: UnitInterval | None = None
    """The least cost whose predicted reward is at least this, in [0, 1]; quality alone where no arm clears it."""
    quality_confidence: Annotated[float, Field(ge=0.5, lt=1.0)] | None = None
    """... with this confidence; 0.9 when left out. An arm that is little known does not clear a floor."""
    profile: Name | None = None
    """A named objective of the policy, such as ``economy``; what the query says itself comes first."""
    cost_weight: Annotated[float, Field(ge=0.0, le=1e9)] | None = None
    """Price of money instead of the policy's own: the reward you would give up to save what a typical
    answer of the dearest arm costs."""
    keep: Keep | None = None
    """Share of the baseline's quality to be kept, in place of the policy's promise. Not together with
    ``cost_weight`` or ``quality_floor``."""
    expected_output_tokens: Annotated[float, Field(ge=0.0, le=1e9)] | None = None
    """How long an answer you expect, for the predicted cost. Tokens."""
    session_id: OptionalLabel | None = None
    """Requests of one session keep their arm."""
    new_session_arm: bool = False
    """Draw the session's arm afresh."""
    reference: OptionalLabel | None = None
    """What you will call the decision by when you reward it: a message's id, a trace's, a ticket's. Of one API key;
    of several decisions with the same reference the newest one is meant."""
    regenerated_from: DecisionName | None = None
    """The decision whose answer is asked for once more, the first one having pleased nobody."""
    escalated_from: DecisionName | None = None
    """The decision whose answer was not enough, so that this one is to do better."""
    task_id: OptionalLabel | None = None
    """What you call the agent's run that the query is a part of, of one API key."""
    parent_decision_id: DecisionName | None = None
    """The decision of the step that led to this one."""
    step: OptionalLabel | None = None
    """Which step of the task it is, such as ``plan``: the same as the tag ``step``."""
    tags: Annotated[dict[Name, OptionalLabel], Field(max_length=MAX_TAGS)] | None = None
    """Your own labels, stored with the decision. At most 32."""
    features: Annotated[dict[Name, Bounded], Field(max_length=MAX_FEATURES)] | None = None
    """Caller features by name, as configured. Unknown names are refused by the policy."""
    embedding: Annotated[list[Bounded], Field(min_length=1, max_length=MAX_EMBEDDING)] | None = None
    """Your own embedding of the prompt, of the encoder's dimension; it is normalised. Saves the encoding."""
    explain: bool = False
    """Add every arm's mean, deviation, cost, probability, and the reason of every exclusion."""


class RouteRequest(QueryOptions):
    """One query to be routed. Give ``input``, or ``messages``, or ``embedding`` (alone or beside a text)."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                {"required": ["input"], "properties": {"input": {"type": "string"}}},
                {"required": ["messages"], "properties": {"messages": {"type": "array"}}},
                {"required": ["embedding"], "properties": {"embedding": {"type": "array"}}},
            ],
            "examples": [{"input": "Prove that the square root of two is irrational.", "max_cost_usd": 0.01}],
        }
    )

    input: Text | None = None
    """The prompt. At most 1,000,000 characters."""
    messages: Annotated[list[Message], Field(max_length=MAX_LIST)] | None = None
    """The conversation, as for OpenAI's chat completions. Not together with ``input``."""
    policy: Name = "default"
    recipes: bool = True
    """Whether a recipe may be chosen. False for a caller that makes one call: only models are."""
    tools: Annotated[int, Field(ge=0, le=10_000)] | Annotated[list[JsonValue], Field(max_length=MAX_LIST)] | None = (
        None
    )
    """The tools that the model may call: their number, or OpenAI's list of them (its length and names are read)."""
    dry_run: bool = False
    """Choose, but record nothing; the decision cannot be rewarded."""
    defer_activation: bool = False
    """Hold rewards until ``POST /v1/decisions/{id}/activate``."""

    @model_validator(mode="after")
    def _check_text(self) -> Self:
        if self.input is not None and self.messages is not None:
            raise ValueError("give input or messages, not both")
        if self.input is None and self.messages is None and self.embedding is None:
            raise ValueError("give one of input, messages, embedding")
        return self


class RouteBatchRequest(RequestModel):
    """Several queries; their decisions share one commit."""

    queries: Annotated[list[RouteRequest], Field(min_length=1, max_length=MAX_BATCH)]
    """At most ``server.max_batch`` (256 unless configured otherwise)."""


class RouteBatchItems(RequestModel):
    """The same before its queries are looked at."""

    queries: Annotated[list[Any], Field(min_length=1, max_length=MAX_BATCH)]


class ArmScore(AnswerModel):
    """How one eligible arm looked to the policy."""

    arm: str
    mean: float | None
    """What the model predicts, and what decides: beyond [0, 1] where the query is unlike those that were learned."""
    deviation: float | None
    """Standard deviation of that prediction."""
    cost_usd: float | None
    """Predicted cost of this query. US dollars."""
    penalty: float | None
    """Cost term and preferences, in units of reward."""
    utility: float | None
    """``mean - penalty``."""
    cache_loss_usd: float | None = None
    """Only in a conversation: what is lost with the prompt cache that another arm has; part of ``penalty``."""
    probability: float
    """With which it could have been drawn."""
    eligible: bool


class RecipePart(AnswerModel):
    """An arm that a recipe is made of."""

    arm: str
    upstream_model: str
    """The name to call the model by."""


class RouteRecipe(AnswerModel):
    """Whom to call, and whose answer counts. Report every call in ``attempts`` of the usage report, the one whose
    answer counts last: whether the members agreed is learned from that.
    """

    kind: RecipeKind
    """``agree``: ask the members at once; equal answers are the answer, else ``else`` is asked. ``best_of``: ask all,
    and give what most of them say. ``fallback``: one after the other, until one gives an answer."""
    members: list[RecipePart]
    otherwise: RecipePart | None = Field(alias="else")
    answers: Comparison
    """How answers are to be compared."""


class RouteAnswer(AnswerModel):
    """The decision. It is durable (unless ``dry_run``)."""

    decision_id: Identifier | None
    """UUIDv7. Reward it within ``expires_at``."""
    policy: str
    arm: str
    upstream_model: str
    """The name to call the model by."""
    propensity: Annotated[float, Field(gt=0.0, le=1.0)]
    """The probability with which this arm was drawn, exactly."""
    predicted_reward: Annotated[float | None, Field(ge=0.0, le=1.0)]
    """``mean`` of the arm, cut to what a reward can be."""
    predicted_cost_usd: float | None
    explored: bool
    """The arm is not the one of the highest utility."""
    reason: str
    """``policy`` (drawn), ``quality_floor`` (least cost above the floor), ``session`` (kept by its session), or, by
    the gateway, ``pinned`` (named by the request), ``shadow`` (the baseline
    answers in place of what was decided)."""
    degraded: str | None
    """Why there is no context, or null."""
    fallbacks: list[str]
    """The other eligible models, best utility first. A recipe is played where it is drawn, and is no fallback."""
    policy_version: int
    policy_kind: str
    expires_at: Time
    session_id: str | None
    dry_run: bool
    duplicate: bool
    """It was made before, for the same ``Idempotency-Key``; nothing was decided or charged again."""
    promise: DecisionPromise | None
    """How the policy's promise and rollout stood; null outside of both."""
    recipe: RouteRecipe | None
    """What the arm is made of; null: it is a model. Of a recipe ``upstream_model`` is but its name."""
    arms: list[ArmScore] | None = None
    """With ``explain``."""
    exclusions: dict[str, str] | None = None
    """With ``explain``: excluded arm to reason."""
    classified: dict[str, str | None] | None = None
    """With ``explain``: the tag that the policy's classifier gave; null where it was asked in vain."""


class RouteBatchItem(AnswerModel):
    """What became of one query of a batch: a decision, or an error."""

    index: int
    status_code: int
    decision: RouteAnswer | None = None
    error: ItemError | None = None


class RouteBatchAnswer(AnswerModel):
    """One result per query, in order."""

    results: list[RouteBatchItem]
