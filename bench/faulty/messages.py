"""How the pieces of an answer look in Anthropic's messages."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from bench.faulty.shapes import REFUSALS, USAGE, ParsedRequest

# What Anthropic says, where its words or types are its own.
_TYPES: Mapping[str, str] = {
    "context": "invalid_request_error", "context-llama": "exceed_context_size_error",
    "policy": "invalid_request_error", "quota": "billing_error", "key": "authentication_error",
    "rate": "rate_limit_error", "request": "invalid_request_error", "unknown": "invalid_request_error",
    "model": "not_found_error", "server": "api_error",
}  # fmt: skip
_MESSAGES: Mapping[str, str] = {
    "context": "prompt is too long: 208310 tokens > 200000 maximum",
    "policy": "Output blocked by content filtering policy",
    "quota": "Your credit balance is too low to access the Anthropic API.",
    "key": "invalid x-api-key",
    "unknown": "seed: Extra inputs are not permitted",
}


class MessagesShape:
    """One answer; it keeps which block is open."""

    def __init__(self) -> None:
        self._index = -1
        self._open = False
        self._finished = False
        self._usage = False
        self._reason = "end_turn"

    def _event(self, kind: str, **more: Any) -> bytes:
        return f"event: {kind}\ndata: ".encode() + _json({"type": kind, **more}) + b"\n\n"

    def _start(self, block: Mapping[str, Any]) -> bytes:
        closed = self._stop()
        self._index += 1
        self._open = True
        return closed + self._event("content_block_start", index=self._index, content_block=block)

    def _stop(self) -> bytes:
        if not self._open:
            return b""
        self._open = False
        return self._event("content_block_stop", index=self._index)

    def _delta(self, kind: str, **more: Any) -> bytes:
        return self._event("content_block_delta", index=self._index, delta={"type": kind, **more})

    def begin(self, asked: ParsedRequest) -> list[bytes]:
        message = {
            "id": "msg_faulty", "type": "message", "role": "assistant", "model": asked.model, "content": [],
            "stop_reason": None, "stop_sequence": None, "usage": {**_inward(), "output_tokens": 1},
        }  # fmt: skip
        return [self._event("message_start", message=message), self._event("ping")]

    def content(self, asked: ParsedRequest, text: str, index: int = 0) -> bytes:
        before = b"" if self._open else self._start({"type": "text", "text": ""})
        return before + self._delta("text_delta", text=text)

    def reasoning(self, asked: ParsedRequest, text: str) -> bytes:
        return (
            self._start({"type": "thinking", "thinking": "", "signature": ""})
            + self._delta("thinking_delta", thinking=text)
            + self._delta("signature_delta", signature="c2lnbmVk")
            + self._stop()
        )

    def tools(self, asked: ParsedRequest) -> list[bytes]:
        self._finished, self._reason = True, "tool_use"
        return [
            self._start({"type": "tool_use", "id": "call_a", "name": "weather", "input": {}}),
            self._delta("input_json_delta", partial_json=""),
            self._delta("input_json_delta", partial_json='{"city":'),
            self._delta("input_json_delta", partial_json='"Bern"}'),
            self._start({"type": "tool_use", "id": "call_b", "name": "time", "input": {}}),
            self._delta("input_json_delta", partial_json='{"zone":"CET"}'),
            self._stop(),
        ]

    def finish(
        self, asked: ParsedRequest, index: int = 0, *, with_usage: bool = False, reason: str = "stop"
    ) -> list[bytes]:
        self._finished = True
        self._usage |= with_usage
        self._reason = "end_turn" if reason == "stop" else reason
        closed = self._stop()
        return [closed] if closed else []

    def usage(self, asked: ParsedRequest) -> list[bytes]:
        self._usage = True
        return []

    def done(self, asked: ParsedRequest) -> list[bytes]:
        stop = self._event("message_stop")
        if not self._finished:
            return [stop]
        delta = {"stop_reason": self._reason, "stop_sequence": None}
        usage = {"usage": {"output_tokens": USAGE[1]}} if self._usage else {}
        return [self._event("message_delta", delta=delta, **usage), stop]

    def odd(self, asked: ParsedRequest) -> list[bytes]:
        return [b'data: {"id": "msg_faulty"}\n\n', self._event("a_new_event", more=[])]

    def error(self, kind: str) -> bytes:
        return self._event("error", error=self.refusal(kind)["error"])

    def whole(self, asked: ParsedRequest, text: str) -> dict[str, Any]:
        return {
            "id": "msg_faulty", "type": "message", "role": "assistant", "model": asked.model,
            "content": [{"type": "text", "text": text}], "stop_reason": "end_turn", "stop_sequence": None,
            "usage": {**_inward(), "output_tokens": USAGE[1]},
        }  # fmt: skip

    def refusal(self, kind: str) -> dict[str, Any]:
        message = _MESSAGES.get(kind, REFUSALS[kind]["message"])
        return {"type": "error", "error": {"type": _TYPES[kind], "message": message}, "request_id": "req_faulty"}


class CountShape(MessagesShape):
    """``/messages/count_tokens``."""

    def whole(self, asked: ParsedRequest, text: str) -> dict[str, Any]:
        return {"input_tokens": USAGE[0]}


def _inward() -> dict[str, int]:
    return {"input_tokens": USAGE[0] - 3, "cache_read_input_tokens": 3, "cache_creation_input_tokens": 0}


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()
