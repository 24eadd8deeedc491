"""Schemas of the gateway's surfaces beside chats. What providers define is open: unknown fields pass through."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field, JsonValue

from banditd.web.schemas.base import AnswerModel, OpenAnswerModel, RequestModel
from banditd.web.schemas.chat import GatewayOptions

_Model = Annotated[str, Field(min_length=1, max_length=256)]


class MessagesRequest(RequestModel):
    """Anthropic's request for a message. What is not named here is passed on as it is."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {
                    "model": "banditd/auto",
                    "max_tokens": 1024,
                    "messages": [{"role": "user", "content": "Why is the sky blue?"}],
                }
            ]
        },
    )

    model: _Model
    """As of ``POST /v1/chat/completions``."""
    messages: Annotated[list[dict[str, JsonValue]], Field(min_length=1)]
    stream: bool | None = None
    banditd: GatewayOptions | None = None
    """Taken out before the upstream is called."""


class MessagesAnswer(OpenAnswerModel):
    """A message, or a stream of server-sent events that ends with ``message_stop`` or ``error``."""

    id: str
    type: str
    model: str


class TokenCount(AnswerModel):
    """How many tokens a request has. ``x-banditd-counted-by``: the arm whose upstream counted, or ``estimate``."""

    input_tokens: int


class AnthropicError(AnswerModel):
    """What is wrong, as Anthropic's clients read it. ``code``: ours, stable."""

    type: str
    message: str
    code: str


class AnthropicErrorAnswer(AnswerModel):
    """An error on a surface of Anthropic's."""

    type: str
    error: AnthropicError
    request_id: str | None


class ResponsesRequest(RequestModel):
    """OpenAI's request for a response. What is not named here is passed on as it is."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={"examples": [{"model": "banditd/auto", "input": "Why is the sky blue?"}]},
    )

    model: _Model
    """As of ``POST /v1/chat/completions``."""
    input: str | list[dict[str, JsonValue]] | None = None
    stream: bool | None = None
    previous_response_id: str | None = None
    """The arm that made it answers this, too."""
    banditd: GatewayOptions | None = None
    """Taken out before the upstream is called."""


class ResponsesAnswer(OpenAnswerModel):
    """The upstream's response as it is, or a stream that ends with ``response.completed``, ``.incomplete`` or
    ``.failed``.
    """

    id: str
    object: str


class EmbeddingsRequest(RequestModel):
    """OpenAI's request for embeddings. What is not named here is passed on as it is."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={"examples": [{"model": "banditd/arm/embed-small", "input": ["a text", "another"]}]},
    )

    model: _Model
    """An arm by name (``banditd/arm/<arm>``); with any other name ``gateway.embeddings`` says which."""
    input: str | list[JsonValue]
    banditd: GatewayOptions | None = None
    """Taken out before the upstream is called."""


class EmbeddingsAnswer(OpenAnswerModel):
    """The upstream's vectors as they are."""

    object: str
    data: list[JsonValue]
