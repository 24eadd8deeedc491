"""Schemas of the gateway. What providers define is described as open: unknown fields pass through untouched."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, JsonValue

from banditd.web.schemas.base import (
    MAX_TAGS,
    AnswerModel,
    DecisionName,
    Name,
    OpenAnswerModel,
    OptionalLabel,
    RequestModel,
)
from banditd.web.schemas.routing import QueryOptions


class GatewayOptions(QueryOptions):
    """What a request may say to banditd beside its model: as the object ``banditd`` of the body, or as headers that
    are called as the options are, such as ``x-banditd-task-id``. The body comes before the headers, and both before
    the model's name.
    """

    capabilities: Annotated[list[Name], Field(max_length=64)] | None = None
    """The arm must have all of these tags, besides those that the request itself needs."""
    session_id: OptionalLabel | None = None
    """Requests of one session keep their arm while tools or thinking are open. As a header: ``x-banditd-session``.
    Without it the session is told from what the request says anyway."""
    regenerated_from: DecisionName | None = None
    """The decision whose answer is asked for once more. In a session that the client names it is recognised anyway:
    the same conversation is sent again."""
    tags: Annotated[dict[Name, OptionalLabel], Field(max_length=MAX_TAGS)] | None = None
    """Your own labels, stored with the decision. As headers: ``x-banditd-tag-<name>``."""
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
