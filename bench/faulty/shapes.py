"""How the pieces of an answer look on one surface. The scripts of ``faults.py`` are put together from them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

WORDS: tuple[str, ...] = ("Hel", "lo ", "wörld", " 🌍", "!")
TEXT = "".join(WORDS)
USAGE = (11, 5)  # tokens in, tokens out


@dataclass(frozen=True)
class ParsedRequest:
    """What of a request matters here."""

    model: str
    stream: bool
    n: int
    include_usage: bool
    body: Mapping[str, Any]
    headers: Mapping[str, str]


class Shape(Protocol):
    """The pieces of one surface: every method gives whole events."""

    def begin(self, asked: ParsedRequest) -> list[bytes]: ...
    def content(self, asked: ParsedRequest, text: str, index: int = 0) -> bytes: ...
    def reasoning(self, asked: ParsedRequest, text: str) -> bytes: ...
    def tools(self, asked: ParsedRequest) -> list[bytes]: ...
    def finish(
        self, asked: ParsedRequest, index: int = 0, *, with_usage: bool = False, reason: str = "stop"
    ) -> list[bytes]: ...
    def usage(self, asked: ParsedRequest) -> list[bytes]: ...
    def done(self, asked: ParsedRequest) -> list[bytes]: ...
    def odd(self, asked: ParsedRequest) -> list[bytes]: ...
    def error(self, kind: str) -> bytes: ...
    def whole(self, asked: ParsedRequest, text: str) -> dict[str, Any]: ...
    def refusal(self, kind: str) -> dict[str, Any]: ...


# What providers say, word for word where it matters: classes are told by codes and words.
REFUSALS: Mapping[str, Mapping[str, Any]] = {
    "context": {
        "message": "This model's maximum context length is 8192 tokens. Please reduce the length of the messages.",
        "type": "invalid_request_error", "param": "messages", "code": "context_length_exceeded",
    },
    "context-llama": {
        "message": "the request exceeds the available context size", "type": "exceed_context_size_error",
        "code": 400, "n_prompt_tokens": 9000, "n_ctx": 8192,
    },
    "policy": {
        "message": "The response was filtered due to the prompt triggering the content management policy.",
        "type": "invalid_request_error", "param": "prompt", "code": "content_filter",
    },
    "quota": {
        "message": "You exceeded your current quota, please check your plan and billing details.",
        "type": "insufficient_quota", "param": None, "code": "insufficient_quota",
    },
    "key": {
        "message": "Incorrect API key provided.", "type": "invalid_request_error", "param": None,
        "code": "invalid_api_key",
    },
    "rate": {
        "message": "Rate limit reached for requests.", "type": "requests", "param": None,
        "code": "rate_limit_exceeded",
    },
    "request": {
        "message": "Invalid value for 'temperature': expected a number between 0 and 2.",
        "type": "invalid_request_error", "param": "temperature", "code": "invalid_value",
    },
    "unknown": {
        "message": {"detail": [{
            "type": "extra_forbidden", "loc": ["body", "user"], "msg": "Extra inputs are not permitted",
        }]},
        "type": "invalid_request_error", "param": None, "code": None,
    },
    "model": {
        "message": "The model does not exist.", "type": "invalid_request_error", "param": "model",
        "code": "model_not_found",
    },
    "server": {"message": "The server had an error.", "type": "server_error", "param": None, "code": None},
}  # fmt: skip


class ChatShape:
    """OpenAI's chat completions."""

    def _chunk(self, asked: ParsedRequest, choices: Sequence[Mapping[str, Any]], **more: Any) -> bytes:
        chunk = {
            "id": "chatcmpl-faulty", "object": "chat.completion.chunk", "created": 1_760_000_000,
            "model": asked.model, "choices": choices, **more,
        }  # fmt: skip
        return b"data: " + json.dumps(chunk, ensure_ascii=False).encode() + b"\n\n"

    def _delta(
        self, asked: ParsedRequest, delta: Mapping[str, Any], index: int = 0, reason: str | None = None
    ) -> bytes:
        return self._chunk(asked, [{"index": index, "delta": delta, "finish_reason": reason}])

    def begin(self, asked: ParsedRequest) -> list[bytes]:
        return [self._delta(asked, {"role": "assistant", "content": ""}, index) for index in range(asked.n)]

    def content(self, asked: ParsedRequest, text: str, index: int = 0) -> bytes:
        return self._delta(asked, {"content": text}, index)

    def reasoning(self, asked: ParsedRequest, text: str) -> bytes:
        return self._delta(asked, {"reasoning_content": text})

    def tools(self, asked: ParsedRequest) -> list[bytes]:
        def call(index: int, **more: Any) -> bytes:
            return self._delta(asked, {"tool_calls": [{"index": index, **more}]})

        return [
            call(0, id="call_a", type="function", function={"name": "weather", "arguments": ""}),
            call(0, function={"arguments": '{"city":'}),
            call(1, id="call_b", type="function", function={"name": "time", "arguments": ""}),
            call(0, function={"arguments": '"Bern"}'}),
            call(1, function={"arguments": '{"zone":"CET"}'}),
            self._delta(asked, {}, reason="tool_calls"),
        ]

    def finish(
        self, asked: ParsedRequest, index: int = 0, *, with_usage: bool = False, reason: str = "stop"
    ) -> list[bytes]:
        choice = {"index": index, "delta": {}, "finish_reason": reason}
        return [self._chunk(asked, [choice], **({"usage": _counts()} if with_usage else {}))]

    def usage(self, asked: ParsedRequest) -> list[bytes]:
        return [self._chunk(asked, [], usage=_counts())] if asked.include_usage else []

    def done(self, asked: ParsedRequest) -> list[bytes]:
        return [b"data: [DONE]\n\n"]

    def odd(self, asked: ParsedRequest) -> list[bytes]:
        return [
            b'data: {"id": "chatcmpl-faulty", "object": "chat.completion.chunk"}\n\n',
            b'data: {"id": "chatcmpl-faulty", "choices": []}\n\n',
        ]

    def error(self, kind: str) -> bytes:
        return b"data: " + json.dumps({"error": REFUSALS[kind]}).encode() + b"\n\n"

    def whole(self, asked: ParsedRequest, text: str) -> dict[str, Any]:
        choices = [
            {"index": index, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
            for index in range(asked.n)
        ]
        return {
            "id": "chatcmpl-faulty", "object": "chat.completion", "created": 1_760_000_000, "model": asked.model,
            "choices": choices, "usage": _counts(),
        }  # fmt: skip

    def refusal(self, kind: str) -> dict[str, Any]:
        return {"error": REFUSALS[kind]}


def _counts() -> dict[str, Any]:
    taken, given = USAGE
    return {
        "prompt_tokens": taken, "completion_tokens": given, "total_tokens": taken + given,
        "prompt_tokens_details": {"cached_tokens": 3},
    }  # fmt: skip
