"""Reads what an answer says from its bytes in the client's form: a whole answer, or the events of a stream. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from banditd.deciding.playing import ModelAnswer
from banditd.ports.upstreams import StreamEvent, Surface

COMPARED: frozenset[Surface] = frozenset({"chat", "messages", "responses"})
"""Surfaces whose answers can be compared."""


def answer_in(surface: Surface, body: bytes) -> ModelAnswer:
    """The content of a whole answer, given its bytes."""
    return answer_of(surface, _object(body))


def answer_of(surface: Surface, stated: Mapping[str, Any]) -> ModelAnswer:
    """The content of a whole answer, given its parsed JSON."""
    if surface == "messages":
        return _of_blocks(stated.get("content"))
    if surface == "responses":
        return _of_output(stated.get("output"))
    choices = _list(stated.get("choices"))
    return _of_message(_dict(_dict(choices[0] if choices else None).get("message")))


def answer_in_stream(surface: Surface, events: Iterable[StreamEvent]) -> ModelAnswer:
    """The content of a stream that has ended well."""
    stated = [_object(data) for data in _data_of(b"".join(event.raw for event in events))]
    if surface == "responses":  # the last event holds the whole answer
        responses = [_dict(one.get("response")) for one in stated]
        return _of_output(next((one["output"] for one in reversed(responses) if one.get("output")), None))
    return _of_blocks(_blocks(stated)) if surface == "messages" else _of_message(_message(stated))


def _data_of(raw: bytes) -> Iterator[bytes]:
    """The data of every event, its lines joined."""
    lines: list[bytes] = []
    for line in (*raw.splitlines(), b""):
        if line.startswith(b"data:"):
            lines.append(line[5:])
        elif not line and lines:
            yield b"\n".join(lines)
            lines = []


def _message(chunks: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The message that a chat's chunks add up to, for the first choice."""
    texts: dict[str, str] = {"content": "", "refusal": ""}
    calls: dict[Any, dict[str, str]] = {}
    for chunk in chunks:
        for choice in _list(chunk.get("choices")):
            if _dict(choice).get("index", 0) != 0:
                continue
            delta = _dict(_dict(choice).get("delta"))
            for name in texts:
                texts[name] += _text(delta.get(name))
            for place, call in enumerate(_list(delta.get("tool_calls"))):
                function = _dict(_dict(call).get("function"))
                made = calls.setdefault(_dict(call).get("index", place), {"name": "", "arguments": ""})
                for name in made:
                    made[name] += _text(function.get(name))
    return {**texts, "tool_calls": [{"function": call} for call in calls.values()]}


def _of_message(message: Mapping[str, Any]) -> ModelAnswer:
    content = message.get("content")
    parts = [_text(_dict(part).get("text")) for part in content] if isinstance(content, list) else [_text(content)]
    functions = [_dict(_dict(call).get("function")) for call in _list(message.get("tool_calls"))]
    return ModelAnswer(
        "".join(parts),
        tuple((_text(one.get("name")), _text(one.get("arguments"))) for one in functions),
        refused=bool(message.get("refusal")),
    )


def _blocks(events: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The content blocks that a message's events add up to."""
    blocks: dict[Any, dict[str, Any]] = {}
    for one in events:
        kind, place = one.get("type"), one.get("index")
        if kind == "content_block_start":
            blocks[place] = {**_dict(one.get("content_block")), "json": ""}
        elif kind == "content_block_delta" and place in blocks:
            delta, block = _dict(one.get("delta")), blocks[place]
            block["text"] = _text(block.get("text")) + _text(delta.get("text"))
            block["json"] += _text(delta.get("partial_json"))
    return list(blocks.values())


def _of_blocks(content: object) -> ModelAnswer:
    blocks = [_dict(block) for block in _list(content)]
    calls = [block for block in blocks if block.get("type") == "tool_use"]
    return ModelAnswer(
        "".join(_text(block.get("text")) for block in blocks if block.get("type") == "text"),
        tuple((_text(one.get("name")), one.get("json") or json.dumps(one.get("input") or {})) for one in calls),
    )


def _of_output(output: object) -> ModelAnswer:
    items = [_dict(item) for item in _list(output)]
    parts = [_dict(part) for item in items if item.get("type") == "message" for part in _list(item.get("content"))]
    calls = [item for item in items if item.get("type") == "function_call"]
    return ModelAnswer(
        "".join(_text(part.get("text")) for part in parts if part.get("type") == "output_text"),
        tuple((_text(one.get("name")), _text(one.get("arguments"))) for one in calls),
        refused=any(part.get("type") == "refusal" for part in parts),
    )


def _object(data: bytes) -> dict[str, Any]:
    try:
        return _dict(json.loads(data))
    except (ValueError, RecursionError):  # for example ``[DONE]``
        return {}


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
