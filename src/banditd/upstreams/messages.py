"""Anthropic's messages: what is changed in a request, what is read of an answer. Bytes are never rewritten."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from banditd.ports.upstreams import StreamEvent, TokenUsage, UpstreamCall
from banditd.upstreams.alike import Alike
from banditd.upstreams.chat import OwnForm, count_or_none, parse, size_of, text_or_none
from banditd.upstreams.dialect import Answer, ErrorEventError, MalformedEventError
from banditd.upstreams.sse import Frame

VERSION: Final = "2023-06-01"
"""Sent as ``anthropic-version`` where neither the client nor the configuration names one."""
VERSION_HEADER: Final = "anthropic-version"
PASSED: Final = frozenset({VERSION_HEADER, "anthropic-beta"})
"""Headers of the client that its upstream gets byte for byte."""

_DELTA: Final = b"content_block_delta"
_NO_CONTENT: Final = frozenset({"type", "id", "tool_use_id", "signature"})


class MessagesDialect(OwnForm):
    """``POST /messages`` of an endpoint that speaks Anthropic's form."""

    path = "/messages"

    def reader(self, _call: UpstreamCall) -> MessagesReader:
        """A new reader for one stream."""
        return MessagesReader()

    def read(self, body: bytes, _call: UpstreamCall) -> Answer:
        """A whole message. Raises MalformedEventError, ErrorEventError."""
        answer = parse(body)
        if answer.get("type") == "error" or answer.get("error"):
            raise ErrorEventError(answer.get("error"))
        content = answer.get("content")
        if not isinstance(content, list):
            raise MalformedEventError("no_content")
        if answer.get("stop_reason") == "error":
            raise ErrorEventError({"code": "finish_reason_error"})
        return Answer(
            body,
            text_or_none(answer.get("id")),
            text_or_none(answer.get("model")),
            text_or_none(answer.get("stop_reason")),
            merged_usage(None, answer.get("usage")),
            sum(_length(block) for block in content if isinstance(block, dict)),
        )


class CountTokensDialect(MessagesDialect):
    """``POST /messages/count_tokens``."""

    path = "/messages/count_tokens"

    def read(self, body: bytes, _call: UpstreamCall) -> Answer:
        """A count. Raises MalformedEventError, ErrorEventError."""
        answer = parse(body)
        if answer.get("error"):
            raise ErrorEventError(answer["error"])
        if count_or_none(answer.get("input_tokens")) is None:
            raise MalformedEventError("no_count")
        return Answer(body, None, None, None, TokenUsage(answer["input_tokens"], 0), 0)


class MessagesReader:
    """Reads the events of one stream. It has finished at ``message_stop``, behind a reason to stop."""

    def __init__(self) -> None:
        self.ended = False
        self._stopped = False
        self._usage: TokenUsage | None = None
        self._alike = Alike()

    @property
    def finished(self) -> bool:
        """Whether the message is whole: clients wait for ``message_stop``, so less is not enough."""
        return self.ended and self._stopped

    def rest(self) -> tuple[StreamEvent, ...]:
        """Nothing is held back."""
        return ()

    def known(self, data: bytes) -> StreamEvent | None:
        """One more delta like the one before it."""
        text = self._alike.text(data)
        return None if text is None else StreamEvent(data, content=True, characters=len(text))

    def read(self, frame: Frame) -> StreamEvent:
        """One event. Raises MalformedEventError, ErrorEventError."""
        data = frame.data
        if (known := self.known(frame.raw)) is not None:
            return known
        event, stated = self.read_stated(frame)
        delta = stated.get("delta")
        stated_text = delta.get("text") if isinstance(delta, dict) and set(delta) == {"type", "text"} else None
        if data is not None and frame.name == _DELTA and isinstance(stated_text, str):
            self._alike.learn(frame.raw, "text", stated_text)
        else:
            self._alike.forget()
        return event

    def read_stated(self, frame: Frame) -> tuple[StreamEvent, Mapping[str, Any]]:
        """One event, and what it says; raises as ``read``."""
        data = frame.data
        event = StreamEvent(frame.raw)
        if data is None or not data.strip():
            return event, {}
        stated = parse(data)
        kind = stated.get("type")
        if kind == "error" or frame.name == b"error":
            raise ErrorEventError(stated.get("error") or stated)
        if kind == "message_start":
            self._start(stated.get("message"), event)
        elif kind == "content_block_start":
            _block(stated.get("content_block"), event)
        elif kind == "content_block_delta":
            _delta(stated.get("delta"), event)
        elif kind == "message_delta":
            self._stop(stated, event)
        elif kind == "message_stop":
            self.ended = True
        return event, stated

    def _start(self, message: object, event: StreamEvent) -> None:
        if not isinstance(message, dict):
            raise MalformedEventError("malformed_event")
        event.response_id = text_or_none(message.get("id"))
        event.model = text_or_none(message.get("model"))
        self._usage = merged_usage(None, message.get("usage"))
        if self._usage is not None:
            event.usage = self._usage = replace(self._usage, partial=True)

    def _stop(self, stated: Mapping[str, Any], event: StreamEvent) -> None:
        delta = stated.get("delta")
        reason = text_or_none(delta.get("stop_reason")) if isinstance(delta, dict) else None
        if reason == "error":
            raise ErrorEventError({"code": "finish_reason_error"})
        if reason is not None:
            self._stopped = True
            event.finish_reason = reason
        usage = stated.get("usage")
        if isinstance(usage, dict) and count_or_none(usage.get("output_tokens")) is not None:
            event.usage = self._usage = merged_usage(self._usage, usage)


def _block(block: object, event: StreamEvent) -> None:
    """The beginning of a block: a tool call has its name here, a text most often nothing."""
    if not isinstance(block, dict):
        return
    kind = block.get("type")
    event.characters = _length(block)
    event.content = event.characters > 0 or kind == "redacted_thinking"


def _delta(delta: object, event: StreamEvent) -> None:
    if isinstance(delta, dict):
        event.characters = _length(delta)
        event.content = event.characters > 0


def _length(part: Mapping[str, Any]) -> int:
    return size_of({name: value for name, value in part.items() if name not in _NO_CONTENT})


def merged_usage(before: TokenUsage | None, usage: object) -> TokenUsage | None:
    """What a usage object tells, over what was told before: later events repeat only some counts.

    ``input_tokens`` of the form leaves out what was read from or written to the cache; ours have all of it.
    """
    if not isinstance(usage, dict):
        return before
    fresh = count_or_none(usage.get("input_tokens"))
    read = count_or_none(usage.get("cache_read_input_tokens"))
    written = count_or_none(usage.get("cache_creation_input_tokens"))
    given = count_or_none(usage.get("output_tokens"))
    if fresh is None and given is None:
        return before
    if before is None:
        return TokenUsage((fresh or 0) + (read or 0) + (written or 0), given or 0, read or 0)
    inward, cached = before.input_tokens, before.cached_input_tokens
    if fresh is not None and read is not None and written is not None:
        inward, cached = fresh + read + written, read
    return TokenUsage(inward, before.output_tokens if given is None else given, cached)
