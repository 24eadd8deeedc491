"""Schemas of the gateway. What providers define is described as open: unknown fields pass through untouched."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, JsonValue

from banditd.web.schemas.base import (
    MAX_EMBEDDING,
    MAX_FEATURES,
    MAX_LIST,
    MAX_TAGS,
    AnswerModel,
    DecisionName,
    Dollars,
    Name,
    Names,
    OpenAnswerModel,
    OptionalLabel,
    RequestModel,
    UnitInterval,
)
from banditd.web.schemas.promise import Keep
from banditd.web.schemas.routing import Bounded


class GatewayOptions(RequestModel):
    """What a request may say to banditd beside its model: the fields of ``POST /v1/route``, as the object ``banditd``
    of the body or as headers ``x-banditd-*``. The body comes before the headers, and both before the model's name.
    """

    policy: Name | None = None
    """Which policy decides."""
    profile: Name | None = None
    """A named objective of the policy, such as ``economy``."""
    candidates: Annotated[list[Name], Field(min_length=1, max_length=MAX_LIST)] | None = None
    """Only these arms may be chosen."""
    excluded_arms: Names | None = None
    """These arms may not be chosen."""
    capabilities: Annotated[list[Name], Field(max_length=64)] | None = None
    """The arm must have all of these tags, besides those that the request itself needs."""
    max_cost_usd: Dollars | None = None
    """Exclude arms whose predicted cost of this query is higher. US dollars."""
    max_latency_ms: Annotated[float, Field(gt=0.0, le=1e9)] | None = None
    """Exclude arms whose expected latency is higher. Milliseconds."""
    quality_floor: UnitInterval | None = None
    """The least cost whose predicted reward is at least this, in [0, 1]."""
    quality_confidence: Annotated[float, Field(ge=0.5, lt=1.0)] | None = None
    """... with this confidence; 0.9 when left out."""
    cost_weight: Annotated[float, Field(ge=0.0, le=1e9)] | None = None
    """Price of money instead of the policy's own."""
    keep: Keep | None = None
    """Share of the baseline's quality to be kept, in place of the policy's promise."""
    expected_output_tokens: Annotated[float, Field(ge=0.0, le=1e9)] | None = None
    """How long an answer you expect, for the predicted cost. Tokens."""
    session_id: OptionalLabel | None = None
    """Requests of one session keep their arm while tools or thinking are open. As a header: ``x-banditd-session``.
    Without it the session is told from what the request says anyway."""
    reference: OptionalLabel | None = None
    """What you will call the decision by when you reward it. As a header: ``x-banditd-reference``."""
    regenerated_from: DecisionName | None = None
    """The decision whose answer is asked for once more. As a header: ``x-banditd-regenerated-from``. In a session
    that the client names it is recognised anyway: the same conversation is sent again."""
    escalated_from: DecisionName | None = None
    """The decision whose answer was not enough. As a header: ``x-banditd-escalated-from``."""
    task_id: OptionalLabel | None = None
    """What you call the agent's run that the query is a part of, of one API key. As a header:
    ``x-banditd-task-id``."""
    parent_decision_id: DecisionName | None = None
    """The decision of the step that led to this one. As a header: ``x-banditd-parent-decision-id``."""
    step: OptionalLabel | None = None
    """Which step of the task it is, such as ``plan``: the same as the tag ``step``. As a header:
    ``x-banditd-step``."""
    new_session_arm: bool = False
    """Draw the session's arm afresh."""
    tags: Annotated[dict[Name, OptionalLabel], Field(max_length=MAX_TAGS)] | None = None
    """Your own labels, stored with the decision. As headers: ``x-banditd-tag-<name>``."""
    features: Annotated[dict[Name, Bounded], Field(max_length=MAX_FEATURES)] | None = None
    """Caller features by name, as configured."""
    embedding: Annotated[list[Bounded], Field(min_length=1, max_length=MAX_EMBEDDING)] | None = None
    """Your own embedding of the prompt, of the encoder's dimension."""
    feedback_link: bool = False
    """Give a link with which whoever reads the answer may vote on it: the header ``x-banditd-feedback-url``."""
    explain: bool = False
    """Add an object ``banditd`` to the answer: every arm's score, the reason of every exclusion, the attempts."""


class ChatRequest(RequestModel):
    """OpenAI's chat completion request. What is not named here is passed on as it is."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [{"model": "banditd/auto", "messages": [{"role": "user", "content": "Why is the sky blue?"}]}]
        },
    )

    model: Annotated[str, Field(min_length=1, max_length=256)]
    """``banditd/auto``, ``banditd/<policy>``, ``banditd/<policy>:<profile>``, ``banditd/arm/<arm>``,
    ``banditd/<policy>/arm/<arm>``, or an alias of the configuration."""
    messages: Annotated[list[dict[str, JsonValue]], Field(min_length=1)]
    stream: bool | None = None
    banditd: GatewayOptions | None = None
    """Taken out before the upstream is called."""


class ChatAnswer(OpenAnswerModel):
    """The upstream's answer as it is: a completion, or a stream of server-sent events."""

    id: str
    object: str
    model: str


class ModelEntry(AnswerModel):
    """A name that requests may use."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ModelList(AnswerModel):
    """What can be asked for."""

    object: Literal["list"]
    data: list[ModelEntry]


class OpenAIError(AnswerModel):
    """What is wrong, as OpenAI's clients read it."""

    message: str
    type: str
    param: str | None
    code: str | None


class OpenAIErrorAnswer(AnswerModel):
    """An error on a surface of OpenAI's."""

    error: OpenAIError
