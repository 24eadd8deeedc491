"""A stream of one form as events of the other. Whether an answer is whole is the upstream's to say."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from banditd.ports.upstreams import StreamEvent, TokenUsage
from banditd.upstreams.chat import DONE, ChatReader, parse
from banditd.upstreams.messages import MessagesReader
from banditd.upstreams.sse import Frame, event
from banditd.upstreams.translate.replies import (
    FINISH_REASONS,
    messages_usage,
    stop_reason_of,
    texts_in,
    usage_as_chat,
)


class MessagesFromChat:
    """Reads a chat's chunks, gives a message's events.

    Blocks of a message follow one another, and calls of tools in a chat may be told in turns: the first is passed on
    as it comes; the others, and texts behind it, are kept until the end.
    """

    def __init__(self) -> None:
        self._inner = ChatReader()
        self._started = False
        self._open: str | None = None
        self._index = -1
        self._calls: dict[int, dict[str, str]] = {}
        self._live: int | None = None
        self._after = ""
        self._reason = "stop"
        self._usage: TokenUsage | None = None
        self._reported = False

    @property
    def finished(self) -> bool:
        """Whether the upstream's answer is whole."""
        return self._inner.finished

    @property
    def ended(self) -> bool:
        """Whether the upstream has said so."""
        return self._inner.ended

    def rest(self) -> tuple[StreamEvent, ...]:
        """The end of the message, where no ``[DONE]`` has brought it."""
        return () if self._reported else (StreamEvent(self._end()),)

    def known(self, _data: bytes) -> StreamEvent | None:
        """Nothing: every event has to be written anew."""
        return None

    def read(self, frame: Frame) -> StreamEvent:
        """One chunk. Raises MalformedEventError, ErrorEventError."""
        seen = self._inner.read(frame)
        seen.usage_only = False
        if seen.usage is not None:
            self._usage = seen.usage
        if frame.data is None or not frame.data.strip():
            return seen  # a comment is one everywhere
        seen.raw = b""
        if frame.data.strip() == DONE:
            if self._inner.finished and not self._reported:
                seen.raw = self._end()
            return seen
        chunk = parse(frame.data)
        choices = chunk.get("choices")
        if isinstance(choices, list) and choices and isinstance(choices[0], dict):
            seen.raw = self._start(chunk) + self._choice(choices[0])
        return seen

    def _start(self, chunk: Mapping[str, Any]) -> bytes:
        if self._started:
            return b""
        self._started = True
        message: dict[str, object] = {
            "id": chunk.get("id") or "", "type": "message", "role": "assistant", "model": chunk.get("model") or "",
            "content": [], "stop_reason": None, "stop_sequence": None, "usage": messages_usage(None),
        }  # fmt: skip
        return _stated("message_start", message=message)

    def _choice(self, choice: Mapping[str, Any]) -> bytes:
        delta = choice.get("delta")
        raw = b""
        if isinstance(delta, dict):
            if text := texts_in(delta):
                raw += self._text(text)
            for call in delta.get("tool_calls") or ():
                if isinstance(call, dict):
                    raw += self._call(call)
        if isinstance(choice.get("finish_reason"), str):
            self._reason = choice["finish_reason"]
        return raw

    def _text(self, text: str) -> bytes:
        if self._live is not None:
            self._after += text
            return b""
        before = b"" if self._open == "text" else self._block("text", {"type": "text", "text": ""})
        return before + self._delta({"type": "text_delta", "text": text})

    def _call(self, stated: Mapping[str, Any]) -> bytes:
        index = self._index_of(stated)
        call = self._calls.setdefault(index, {"id": "", "name": "", "arguments": ""})
        function = stated.get("function")
        function = function if isinstance(function, dict) else {}
        call["id"] = call["id"] or str(stated.get("id") or "")
        call["name"] += str(function.get("name") or "")
        more = str(function.get("arguments") or "")
        call["arguments"] += more
        if self._live is None and call["name"]:
            self._live = index
            return self._tool(index)
        if self._live == index and more:
            return self._delta({"type": "input_json_delta", "partial_json": more})
        return b""

    def _index_of(self, stated: Mapping[str, Any]) -> int:
        """Which call: as told; where nothing is told, a new id begins a new one."""
        index = stated.get("index")
        if isinstance(index, int):
            return index
        last = max(self._calls, default=-1)
        given = stated.get("id")
        return last + 1 if last < 0 or (given and given != self._calls[last]["id"]) else last

    def _tool(self, index: int) -> bytes:
        call = self._calls[index]
        block = {"type": "tool_use", "id": call["id"] or f"call_{index}", "name": call["name"], "input": {}}
        raw = self._block("tool_use", block)
        if call["arguments"]:
            raw += self._delta({"type": "input_json_delta", "partial_json": call["arguments"]})
        return raw

    def _block(self, kind: str, block: Mapping[str, object]) -> bytes:
        closed = self._close()
        self._open = kind
        self._index += 1
        return closed + _stated("content_block_start", index=self._index, content_block=block)

    def _close(self) -> bytes:
        if self._open is None:
            return b""
        self._open = None
        return _stated("content_block_stop", index=self._index)

    def _delta(self, delta: Mapping[str, object]) -> bytes:
        return _stated("content_block_delta", index=self._index, delta=delta)

    def _end(self) -> bytes:
        self._reported = True
        raw = b"".join(self._tool(index) for index in sorted(self._calls) if index != self._live)
        self._live = None
        if self._after:
            raw += self._text(self._after)
        raw += self._close()
        reason = stop_reason_of(self._reason, calls=bool(self._calls))
        delta = {"stop_reason": reason, "stop_sequence": None}
        return (
            raw + _stated("message_delta", delta=delta, usage=messages_usage(self._usage)) + _stated("message_stop")
        )


class ChatFromMessages:
    """Reads a message's events, gives a chat's chunks. created_s : seconds since the Unix epoch."""

    def __init__(self, *, show_usage: bool, created_s: int) -> None:
        self._inner = MessagesReader()
        self._show_usage = show_usage
        self._head: dict[str, object] = {
            "id": "",
            "object": "chat.completion.chunk",
            "created": created_s,
            "model": "",
        }
        self._calls = -1
        self._usage: TokenUsage | None = None

    @property
    def finished(self) -> bool:
        """Whether the upstream's answer is whole."""
        return self._inner.finished

    @property
    def ended(self) -> bool:
        """Whether the upstream has said so."""
        return self._inner.ended

    def rest(self) -> tuple[StreamEvent, ...]:
        """``message_stop`` has brought the end already."""
        return ()

    def known(self, _data: bytes) -> StreamEvent | None:
        """Nothing: every event has to be written anew."""
        return None

    def read(self, frame: Frame) -> StreamEvent:
        """One event. Raises MalformedEventError, ErrorEventError."""
        seen, stated = self._inner.read_stated(frame)
        if frame.data is None or not frame.data.strip():
            return seen  # a comment is one everywhere
        if seen.usage is not None:
            self._usage = seen.usage
        kind = stated.get("type")
        seen.raw = b""
        if kind == "message_start":
            self._head |= {"id": seen.response_id or "", "model": seen.model or ""}
            seen.raw = self._chunk({"role": "assistant", "content": ""})
        elif kind == "content_block_start":
            seen.raw = self._begin(stated.get("content_block"))
        elif kind == "content_block_delta":
            seen.raw = self._more(stated.get("delta"))
        elif kind == "message_delta" and seen.finish_reason is not None:
            seen.raw = self._chunk({}, FINISH_REASONS.get(seen.finish_reason, "stop"))
        elif kind == "message_stop":
            seen.raw = self._stop() if self._inner.finished else b""
        return seen

    def _begin(self, block: object) -> bytes:
        if not isinstance(block, dict):
            return b""
        if block.get("type") == "tool_use":
            self._calls += 1
            given = block.get("input")
            arguments = _json(given) if given else ""
            function = {"name": block.get("name"), "arguments": arguments}
            return self._tool({"id": block.get("id"), "type": "function", "function": function})
        text = block.get("text")
        return self._chunk({"content": text}) if block.get("type") == "text" and text else b""

    def _more(self, delta: object) -> bytes:
        if not isinstance(delta, dict):
            return b""
        if delta.get("type") == "text_delta" and delta.get("text"):
            return self._chunk({"content": delta["text"]})
        if delta.get("type") == "input_json_delta" and delta.get("partial_json"):
            return self._tool({"function": {"arguments": delta["partial_json"]}})
        return b""

    def _tool(self, call: Mapping[str, object]) -> bytes:
        return self._chunk({"tool_calls": [{"index": self._calls, **call}]})

    def _stop(self) -> bytes:
        usage = b""
        if self._show_usage:
            reported = usage_as_chat(self._usage or TokenUsage(0, 0))
            usage = event(_json({**self._head, "choices": [], "usage": reported}).encode())
        return usage + event(DONE)

    def _chunk(self, delta: Mapping[str, object], reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        return event(_json({**self._head, "choices": [choice]}).encode())


def _stated(kind: str, **more: object) -> bytes:
    return event(_json({"type": kind, **more}).encode(), kind)


def _json(value: object) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        text.encode()
    except UnicodeEncodeError:  # half a character stays escaped, as it came
        return json.dumps(value, separators=(",", ":"))
    return text
