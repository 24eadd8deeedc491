"""OpenAI's responses: what is changed in a request, what is read of an answer. Bytes are never rewritten."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from banditd.ports.upstreams import StreamEvent, TokenUsage, UpstreamCall
from banditd.upstreams.chat import DONE, OwnForm, count_or_none, parse, size_of, text_or_none
from banditd.upstreams.dialect import Answer, ErrorEventError, MalformedEventError
from banditd.upstreams.sse import Frame

_NO_CONTENT: Final = frozenset({"type", "id", "call_id", "status", "role", "annotations", "encrypted_content"})
# Types of events that repeat what deltas have told, or only say where the answer stands.
_REPEATED: Final = (".done", ".added", ".in_progress", ".created", ".queued", ".searching", ".interpreting")


class ResponsesDialect(OwnForm):
    """``POST /responses`` of an endpoint that speaks OpenAI's form."""

    path = "/responses"

    def reader(self, _call: UpstreamCall) -> ResponsesReader:
        """A new reader for one stream."""
        return ResponsesReader()

    def read(self, body: bytes, _call: UpstreamCall) -> Answer:
        """A whole response. Raises MalformedEventError, ErrorEventError."""
        answer = parse(body)
        require_answered(answer)
        if not isinstance(answer.get("output"), list):
            raise MalformedEventError("no_output")
        return Answer(
            body,
            text_or_none(answer.get("id")),
            text_or_none(answer.get("model")),
            _reason(answer),
            usage_of(answer.get("usage")),
            _length(answer["output"]),
            _declines(answer["output"]),
        )


class ResponsesReader:
    """Reads the events of one stream. It has finished at ``response.completed`` or ``response.incomplete``."""

    def __init__(self) -> None:
        self.ended = False
        self.finished = False

    def rest(self) -> tuple[StreamEvent, ...]:
        """Nothing is held back."""
        return ()

    def known(self, _data: bytes) -> StreamEvent | None:
        """Nothing: every event has a number of its own."""
        return None

    def read(self, frame: Frame) -> StreamEvent:
        """One event. Raises MalformedEventError, ErrorEventError."""
        data = frame.data
        event = StreamEvent(frame.raw)
        if data is None or not data.strip():
            return event
        if data.strip() == DONE:  # some send it behind the terminal event
            self.ended = True
            return event
        stated = parse(data)
        kind = stated.get("type")
        kind = kind if isinstance(kind, str) else ""
        if kind == "error" or frame.name == b"error" or stated.get("error"):
            raise ErrorEventError(stated.get("error") or stated)
        response = stated.get("response")
        if kind == "response.failed":
            error = response.get("error") if isinstance(response, dict) else None
            raise ErrorEventError(error or {"code": "failed"})
        if isinstance(response, dict):
            event.response_id, event.model = text_or_none(response.get("id")), text_or_none(response.get("model"))
            if kind in ("response.completed", "response.incomplete"):
                require_answered(response)
                event.usage = usage_of(response.get("usage"))
                event.finish_reason = _reason(response)
                self.finished = self.ended = True
        elif kind == "response.output_item.added":
            item = stated.get("item")
            if isinstance(item, dict) and str(item.get("type", "")).endswith("_call"):
                event.content, event.characters = True, len(str(item.get("name") or ""))
        elif kind and not kind.endswith(_REPEATED):
            event.characters = size_of(stated.get("delta"))
            event.content = event.characters > 0
            event.refusal = kind == "response.refusal.delta"
        return event


def require_answered(response: Mapping[str, Any]) -> None:
    """Raises ErrorEventError where a response says that it has failed, MalformedEventError where it is none."""
    if response.get("error") or response.get("status") == "failed":
        raise ErrorEventError(response.get("error") or {"code": "failed"})
    if response.get("status") == "cancelled":
        raise ErrorEventError({"code": "cancelled", "message": "the response was cancelled"})


def usage_of(usage: object) -> TokenUsage | None:
    """The usage object of a response; None where it has no counts."""
    if not isinstance(usage, dict):
        return None
    taken, given = count_or_none(usage.get("input_tokens")), count_or_none(usage.get("output_tokens"))
    if taken is None and given is None:
        return None
    details = usage.get("input_tokens_details")
    cached = count_or_none(details.get("cached_tokens")) if isinstance(details, dict) else None
    return TokenUsage(taken or 0, given or 0, min(cached or 0, taken or 0))


def _length(value: object) -> int:
    """Characters of content: texts, thoughts, names and arguments of calls."""
    if isinstance(value, dict):
        return sum(_length(one) for name, one in value.items() if name not in _NO_CONTENT)
    return sum(map(_length, value)) if isinstance(value, list) else size_of(value)


def _declines(output: list[Any]) -> bool:
    parts = (part for item in output if isinstance(item, dict) for part in _list(item.get("content")))
    return any(isinstance(part, dict) and part.get("type") == "refusal" for part in parts)


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _reason(response: Mapping[str, Any]) -> str:
    details = response.get("incomplete_details")
    why = text_or_none(details.get("reason")) if isinstance(details, dict) else None
    return why or text_or_none(response.get("status")) or "completed"
