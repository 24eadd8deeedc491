"""How the pieces of an answer look in OpenAI's responses, and its embeddings."""

from __future__ import annotations

import json
from typing import Any

from bench.faulty.shapes import REFUSALS, USAGE, ParsedRequest

ITEM = "msg_1"


class ResponsesShape:
    """One answer; it numbers its events and keeps its text."""

    def __init__(self) -> None:
        self._number = -1
        self._text = ""
        self._began = False
        self._finished = False
        self._failed = False
        self._usage = False
        self._calls: list[dict[str, Any]] = []

    def _event(self, kind: str, **more: Any) -> bytes:
        self._number += 1
        said = {"type": kind, "sequence_number": self._number, **more}
        return f"event: {kind}\ndata: ".encode() + json.dumps(said, ensure_ascii=False).encode() + b"\n\n"

    def _response(self, asked: ParsedRequest, status: str, *, output: list[Any], usage: Any = None) -> dict[str, Any]:
        return {
            "id": "resp_faulty", "object": "response", "created_at": 1_760_000_000, "status": status,
            "model": asked.model, "output": output, "usage": usage, "error": None, "incomplete_details": None,
            "parallel_tool_calls": True, "tool_choice": "auto", "tools": [],
        }  # fmt: skip

    def begin(self, asked: ParsedRequest) -> list[bytes]:
        response = self._response(asked, "in_progress", output=[])
        return [self._event(f"response.{kind}", response=response) for kind in ("created", "in_progress")]

    def _open(self) -> bytes:
        if self._began:
            return b""
        self._began = True
        item = {"type": "message", "id": ITEM, "role": "assistant", "status": "in_progress", "content": []}
        part = {"type": "output_text", "text": "", "annotations": []}
        return self._event("response.output_item.added", output_index=0, item=item) + self._event(
            "response.content_part.added", item_id=ITEM, output_index=0, content_index=0, part=part
        )

    def content(self, asked: ParsedRequest, text: str, index: int = 0) -> bytes:
        before = self._open()
        self._text += text
        return before + self._event(
            "response.output_text.delta", item_id=ITEM, output_index=0, content_index=0, delta=text, logprobs=[]
        )

    def reasoning(self, asked: ParsedRequest, text: str) -> bytes:
        return self._event(
            "response.reasoning_summary_text.delta", item_id="rs_1", output_index=0, summary_index=0, delta=text
        )

    def tools(self, asked: ParsedRequest) -> list[bytes]:
        def added(index: int, call_id: str, name: str) -> bytes:
            item = {
                "type": "function_call", "id": f"fc_{index}", "call_id": call_id, "name": name, "arguments": "",
                "status": "in_progress",
            }  # fmt: skip
            self._calls.append(item)
            return self._event("response.output_item.added", output_index=index, item=item)

        def delta(index: int, arguments: str) -> bytes:
            self._calls[index]["arguments"] += arguments
            return self._event(
                "response.function_call_arguments.delta", item_id=f"fc_{index}", output_index=index, delta=arguments
            )

        self._finished = True
        return [
            added(0, "call_a", "weather"), delta(0, '{"city":'), added(1, "call_b", "time"),
            delta(0, '"Bern"}'), delta(1, '{"zone":"CET"}'),
        ]  # fmt: skip

    def finish(
        self, asked: ParsedRequest, index: int = 0, *, with_usage: bool = False, reason: str = "stop"
    ) -> list[bytes]:
        self._finished, self._failed = True, reason == "error"
        self._usage |= with_usage
        if not self._began:
            return []
        done = {"item_id": ITEM, "output_index": 0, "content_index": 0, "text": self._text, "logprobs": []}
        return [
            self._event("response.output_text.done", **done),
            self._event("response.output_item.done", output_index=0, item=_item(self._text)),
        ]

    def usage(self, asked: ParsedRequest) -> list[bytes]:
        self._usage = True
        return []

    def done(self, asked: ParsedRequest) -> list[bytes]:
        if not self._finished:
            return [b"data: [DONE]\n\n"]  # what proxies send that know only chats
        if self._failed:
            failed = self._response(asked, "failed", output=[]) | {"error": REFUSALS["server"]}
            return [self._event("response.failed", response=failed)]
        output = self._calls or [_item(self._text)]
        whole = self._response(asked, "completed", output=output, usage=_counts() if self._usage else None)
        return [self._event("response.completed", response=whole)]

    def odd(self, asked: ParsedRequest) -> list[bytes]:
        return [b'data: {"id": "resp_faulty"}\n\n', self._event("response.a_new_event", more=[])]

    def error(self, kind: str) -> bytes:
        said = REFUSALS[kind]
        return self._event("error", code=said["code"] or said["type"], message=said["message"], param=None)

    def whole(self, asked: ParsedRequest, text: str) -> dict[str, Any]:
        return self._response(asked, "completed", output=[_item(text)], usage=_counts())

    def refusal(self, kind: str) -> dict[str, Any]:
        return {"error": REFUSALS[kind]}


class EmbeddingsShape(ResponsesShape):
    """``/embeddings``: one vector for every input."""

    def whole(self, asked: ParsedRequest, text: str) -> dict[str, Any]:
        given = asked.body.get("input")
        count = len(given) if isinstance(given, list) and given and not isinstance(given[0], int) else 1
        data = [{"object": "embedding", "index": i, "embedding": [0.25, -0.5, float(i)]} for i in range(count)]
        usage = {"prompt_tokens": USAGE[0], "total_tokens": USAGE[0]}
        return {"object": "list", "data": data, "model": asked.model, "usage": usage}


def _item(text: str) -> dict[str, Any]:
    part = {"type": "output_text", "text": text, "annotations": []}
    return {"type": "message", "id": ITEM, "role": "assistant", "status": "completed", "content": [part]}


def _counts() -> dict[str, Any]:
    taken, given = USAGE
    return {
        "input_tokens": taken, "input_tokens_details": {"cached_tokens": 3}, "output_tokens": given,
        "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": taken + given,
    }  # fmt: skip
