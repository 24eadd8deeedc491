"""OpenAI's chat completions and embeddings: what is changed in a request, what is read of an answer.

Bytes are never rewritten.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from banditd.core.errors import InvariantError
from banditd.core.long_json import compact, encode_pieces
from banditd.core.tokens import MAX_TOKENS, with_thoughts
from banditd.ports.upstreams import StreamEvent, TokenUsage, UpstreamCall
from banditd.upstreams.alike import Alike
from banditd.upstreams.dialect import Answer, ErrorEventError, MalformedEventError, StreamReader
from banditd.upstreams.sse import Frame

DONE: Final = b"[DONE]"


class OwnForm:
    """An endpoint that is spoken to as the client speaks: everything of a request is carried."""

    def uncarried(self, _body: Mapping[str, object]) -> str | None:
        """Never anything."""
        return None

    def write(self, call: UpstreamCall, *, stream: bool) -> bytes:
        """The client's body with the arm's model and parameters."""
        return written(with_params(call), call)


class ChatDialect(OwnForm):
    """``POST /chat/completions`` of an endpoint that speaks OpenAI's form."""

    path = "/chat/completions"

    def write(self, call: UpstreamCall, *, stream: bool) -> bytes:
        """The client's body with the arm's model and parameters; a stream is asked for its usage, too, unless the arm
        takes ``stream_options`` out: its upstream does not know them.
        """
        body = with_params(call)
        if stream and call.params.get("stream_options", "") is not None:
            options = body.get("stream_options")
            body["stream_options"] = {**(options if isinstance(options, dict) else {}), "include_usage": True}
        return written(body, call)

    def reader(self, call: UpstreamCall) -> ChatReader:
        """A new reader for one stream."""
        requested = call.params.get("n") or call.body.get("n")
        return ChatReader(requested if isinstance(requested, int) and requested > 0 else 1)

    def read(self, body: bytes, call: UpstreamCall) -> Answer:
        """A whole completion. Raises MalformedEventError, ErrorEventError."""
        answer = parse(body)
        if answer.get("error"):
            raise ErrorEventError(answer["error"])
        choices = answer.get("choices")
        if not isinstance(choices, list) or not choices:
            raise MalformedEventError("no_choices")
        finish_reason: str | None = None
        characters = 0
        refusal = False
        for choice in choices:
            if not isinstance(choice, dict):
                raise MalformedEventError("malformed_answer")
            if choice.get("finish_reason") == "error":
                raise _failed(choice)
            finish_reason = finish_reason or text_or_none(choice.get("finish_reason"))
            message = choice.get("message")
            if isinstance(message, dict):
                characters += length(message)
                refusal |= text_or_none(message.get("refusal")) is not None
        return Answer(
            body,
            text_or_none(answer.get("id")),
            text_or_none(answer.get("model")),
            finish_reason,
            usage_of(answer.get("usage")),
            characters,
            refusal,
        )


class ChatReader:
    """Reads the chunks of one stream.

    It has finished when every choice that was asked for has given a reason, and not by ``[DONE]`` alone: proxies send
    that after a model that broke off.
    """

    def __init__(self, n_choices: int = 1) -> None:
        self.ended = False
        self._n_choices = n_choices
        self._open: set[object] = set()
        self._closed: set[object] = set()
        self._alike = Alike()

    @property
    def finished(self) -> bool:
        """Whether every choice has given its reason to end."""
        return len(self._closed) >= self._n_choices and self._open <= self._closed

    def rest(self) -> tuple[StreamEvent, ...]:
        """Nothing is held back."""
        return ()

    def known(self, data: bytes) -> StreamEvent | None:
        """One more chunk like the one before it."""
        text = self._alike.text(data)
        return None if text is None else StreamEvent(data, content=True, characters=len(text))

    def read(self, frame: Frame) -> StreamEvent:
        """One chunk. Raises MalformedEventError, ErrorEventError."""
        data = frame.data
        if (event := self.known(frame.raw)) is not None:
            return event
        if data is None or not data.strip():
            return StreamEvent(frame.raw)
        if data.strip() == DONE:
            self.ended = True
            return StreamEvent(frame.raw)
        if frame.name == b"error":
            raise ErrorEventError(_error_of(data))
        chunk = parse(data)
        if chunk.get("error"):
            raise ErrorEventError(chunk["error"])
        event = StreamEvent(
            frame.raw,
            usage=usage_of(chunk.get("usage")),
            response_id=text_or_none(chunk.get("id")),
            model=text_or_none(chunk.get("model")),
        )
        choices = chunk.get("choices")
        if isinstance(choices, list) and choices:
            for choice in choices:
                if isinstance(choice, dict):
                    self._choice(choice, event)
        else:
            event.usage_only = event.usage is not None
        self._learn(frame, choices, event)
        return event

    def _learn(self, frame: Frame, choices: object, event: StreamEvent) -> None:
        """The next chunk may differ from this one in its text alone."""
        if event.usage is None and event.finish_reason is None and isinstance(choices, list) and len(choices) == 1:
            delta = choices[0].get("delta") if isinstance(choices[0], dict) else None
            news = [one for one in delta.items() if one[0] != "role"] if isinstance(delta, dict) else []
            if len(news) == 1 and isinstance(news[0][1], str):  # content most often, or reasoning
                self._alike.learn(frame.raw, *news[0])
                return
        self._alike.forget()

    def _choice(self, choice: Mapping[str, Any], event: StreamEvent) -> None:
        index = choice.get("index", 0)
        index = index if isinstance(index, int) else 0
        self._open.add(index)
        reason = choice.get("finish_reason")
        if isinstance(reason, str) and reason:
            if reason == "error":
                raise _failed(choice)
            event.finish_reason = reason
            self._closed.add(index)
        delta = choice.get("delta")
        if isinstance(delta, dict) and delta:
            size = length(delta)
            if size:
                event.content = True
                event.characters += size
                event.refusal |= text_or_none(delta.get("refusal")) is not None


def with_params(call: UpstreamCall) -> dict[str, object]:
    """The client's body for this arm: its model, its names of parameters, its values."""
    body: dict[str, object] = dict(call.body)
    for old, new in call.rename_params.items():
        if old in body:
            value = body.pop(old)
            body.setdefault(new, value)
    for name, value in call.params.items():
        if value is None:
            body.pop(name, None)
        else:
            body[name] = value
    body["model"] = call.model
    return body


def encode(body: Mapping[str, object]) -> bytes:
    """The body as JSON bytes; a lone surrogate, which UTF-8 has not, stays escaped as it came."""
    return compact(body)


def written(body: Mapping[str, object], call: UpstreamCall) -> bytes:
    """The body of a call, in pieces where that is large."""
    return encode_pieces(body, compact) if call.large else compact(body)


def parse(data: bytes) -> dict[str, Any]:
    """A JSON object. Raises MalformedEventError."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        raise MalformedEventError("malformed_event") from None
    if not isinstance(value, dict):
        raise MalformedEventError("malformed_event")
    return value


def usage_of(usage: object) -> TokenUsage | None:
    """The usage object of a completion; None where it has no counts."""
    if not isinstance(usage, dict):
        return None
    taken, given = usage.get("prompt_tokens"), usage.get("completion_tokens")
    if count_or_none(taken) is None and count_or_none(given) is None:
        return None
    given = with_thoughts(taken, given, usage.get("total_tokens"))
    details = usage.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else None
    if count_or_none(cached) is None:
        cached = usage.get("prompt_cache_hit_tokens")
    cost = usage.get("cost")
    inward = count_or_none(taken) or 0
    return TokenUsage(
        inward,
        count_or_none(given) or 0,
        min(count_or_none(cached) or 0, inward),
        float(cost) if isinstance(cost, int | float) and not isinstance(cost, bool) and 0 <= cost < 1e9 else None,
    )


def length(delta: Mapping[str, Any]) -> int:
    """Characters of content in a delta or a message: text, reasoning, tool calls; 0 where it only names its role."""
    content = delta.get("content")
    if isinstance(content, str) and content and len(delta) <= 2:  # what nearly every chunk is
        return len(content)
    return sum(size_of(value) for name, value in delta.items() if name != "role")


def size_of(value: object) -> int:
    """Characters of all texts in a JSON value."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, list):
        return sum(size_of(one) for one in value)
    if isinstance(value, dict):
        return sum(size_of(one) for one in value.values())
    return 0


def text_or_none(value: object) -> str | None:
    """A text that is not empty, or None."""
    return value if isinstance(value, str) and value else None


def count_or_none(value: object) -> int | None:
    """A number of tokens that can be one, or None."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_TOKENS else None


def _failed(choice: Mapping[str, Any]) -> ErrorEventError:
    """A choice that has ended with an error, under a good status."""
    return ErrorEventError(choice.get("error") or {"code": "finish_reason_error"})


def _error_of(data: bytes) -> object:
    try:
        error = parse(data)
    except MalformedEventError:
        return {"message": data.decode("utf-8", "replace")}
    return error.get("error") or error


class EmbeddingsDialect(OwnForm):
    """``POST /embeddings`` of an endpoint that speaks OpenAI's form."""

    path = "/embeddings"

    def reader(self, _call: UpstreamCall) -> StreamReader:
        """Never asked for."""
        raise InvariantError("embeddings are not streamed")

    def read(self, body: bytes, _call: UpstreamCall) -> Answer:
        """A list of vectors. Raises MalformedEventError, ErrorEventError."""
        answer = parse(body)
        if answer.get("error"):
            raise ErrorEventError(answer["error"])
        if not isinstance(answer.get("data"), list):
            raise MalformedEventError("no_data")
        return Answer(body, None, text_or_none(answer.get("model")), None, usage_of(answer.get("usage")), 0)
