"""What the gateway needs from models' endpoints: one call, answered whole or as a stream of events.

A *surface* is the form in which the client speaks (``chat``, ``messages``, ...), whatever the upstream speaks: an
adapter that has to translate does so below this line, so what crosses it is in the client's own form. Endings are
honest: an answer that did not finish raises ``UpstreamError``, it never just ends.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple, Protocol

from banditd.core.attempts import ErrorClass
from banditd.core.errors import BanditdError

Surface = Literal["chat", "messages", "count_tokens", "responses", "embeddings"]
OPTIONAL: Final[frozenset[Surface]] = frozenset({"count_tokens", "responses", "embeddings"})
"""Surfaces that an endpoint may lack and be well."""


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """What an upstream says that its answer took.

    cached_input_tokens are among input_tokens. cost_usd : where the upstream bills by itself and says so.
    partial : told before the end of a stream; more output has come, or may.
    """

    input_tokens: int
    output_tokens: int
    cached_input_tokens: int = 0
    cost_usd: float | None = None
    partial: bool = False


class UpstreamError(BanditdError):
    """A call that failed, before or after its first event.

    Parameters
    ----------
    message : for the client: it may quote what the upstream said of the client's own request. Never logged.
    error_class : what to do about it (``services/gateway`` has the table).
    code : short and stable, ours or the upstream's; safe to log. Of a timeout: ``timeout_connect``,
        ``timeout_headers``, ``timeout_first_token``, ``timeout_idle`` or ``timeout_total``.
    status : HTTP status of the upstream's answer, where there was one.
    retry_after_s : how long the upstream asks to be left alone.
    retry_same : the same arm may be called once more: nothing of an answer had come, and it may pass.
    local : refused on this side without a call (too many in flight): says nothing about the upstream's health.
    healthy : only what was asked for is not there (a surface that the upstream does not serve): breakers had better
        not hear of it.
    elsewhere : it does not know what the request asks with; another arm's endpoint may.
    usage : what was used up all the same, as far as the upstream said.
    """

    default_code = "UPSTREAM_FAILED"

    def __init__(
        self,
        message: str,
        *,
        error_class: ErrorClass,
        code: str,
        status: int | None = None,
        retry_after_s: float | None = None,
        retry_same: bool = False,
        local: bool = False,
        usage: TokenUsage | None = None,
    ) -> None:
        super().__init__(message, code=code)
        self.error_class: ErrorClass = error_class
        self.status = status
        self.retry_after_s = retry_after_s
        self.retry_same = retry_same
        self.local = local
        self.healthy = False
        self.elsewhere = False
        self.usage = usage


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamCall:
    """One call of one arm.

    body : the client's own JSON object. Only ``model``, what counts usage, and the arm's parameters are changed.
    headers : of the client's request; the adapter passes on those of its allow-list, and no others.
    params : the arm's parameters, which win over the client's; None takes a field out. rename_params : old name to
        new one, for what the client gave.
    first_token_s : how long to wait for the first token where the arm differs from its upstream.
    deadline_s : seconds left of the whole request's time.
    large : the body is written apart from the event loop.
    cleared : awaited before anything is sent, where that must wait; raises what forbids it.
    """

    upstream: str
    surface: Surface
    model: str
    body: Mapping[str, object]
    headers: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, object] = field(default_factory=dict)
    rename_params: Mapping[str, str] = field(default_factory=dict)
    first_token_s: float | None = None
    deadline_s: float = 600.0
    large: bool = False
    cleared: Callable[[], Awaitable[None]] | None = None


class UpstreamReply(NamedTuple):
    """A whole answer. headers : those that may be shown to the client, in lower case."""

    status: int
    headers: Mapping[str, str]
    content_type: str
    body: bytes
    response_id: str | None
    model: str | None
    finish_reason: str | None
    usage: TokenUsage | None
    characters: int = 0
    refusal: bool = False


@dataclass(slots=True)
class StreamEvent:
    """One event of a stream, exactly as it came.

    raw : its bytes, blank line included; where a translation gives them it may hold several events or none.
    content : it carries text, reasoning or a tool call: an answer has begun.
    finish_reason : the answer (one choice of it) ends here. usage_only : it says nothing but usage, which the client
    may not have asked for. characters : length of the content, for an estimate where no usage comes. refusal :
    it says that the model declines.
    """

    raw: bytes
    content: bool = False
    finish_reason: str | None = None
    usage: TokenUsage | None = None
    usage_only: bool = False
    characters: int = 0
    response_id: str | None = None
    model: str | None = None
    refusal: bool = False


class UpstreamStream(Protocol):
    """An answer that has begun: its status was good. Iterate it to its end, and close it in any case."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Those that may be shown to the client, in lower case."""

    def __aiter__(self) -> UpstreamStream: ...

    async def __anext__(self) -> Sequence[StreamEvent]:
        """The events of one read. Ends only after the answer has finished; else raises UpstreamError."""

    def close(self) -> None:
        """Hang up at once, so that the upstream stops working. No harm after the end."""


class Upstreams(Protocol):
    """All configured upstreams by name."""

    def names(self) -> Sequence[str]: ...

    def provider(self, upstream: str, model: str) -> str:
        """Whose form the upstream speaks, for metrics: ``openai``, ``anthropic``, or what the model's name says."""

    def unable(self, surface: Surface, body: Mapping[str, object]) -> Mapping[str, str]:
        """The names of those that cannot answer this request, with the reason.

        ``surface_unsupported``, or ``untranslatable:<what>`` where the request has something that the upstream's own
        form has not.
        """

    async def complete(self, call: UpstreamCall) -> UpstreamReply:
        """The whole answer. Raises UpstreamError."""

    async def stream(self, call: UpstreamCall) -> UpstreamStream:
        """An answer that has begun. Raises UpstreamError."""
