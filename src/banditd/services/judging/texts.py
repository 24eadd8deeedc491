"""Extracts the text of questions and answers from request and response bodies. Pure; unreadable content is
skipped.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from banditd.services.gateway.call import GatewayCall

JUDGED_SURFACES: Final = frozenset({"chat", "messages", "responses"})
CUT: Final = "\n[... cut ...]\n"


def question_text(call: GatewayCall, most_chars: int) -> str:
    """The conversation before the answer, with a line that names each speaker, in at most ``most_chars``
    characters.
    """
    return question_in(call.surface, call.body, most_chars) or shortened(call.query.text or "", most_chars)


def question_in(surface: str, body: Mapping[str, object], most_chars: int) -> str:
    """Like ``question_text``, given only the body; empty if it has no text."""
    return shortened("\n".join(_spoken(surface, body)), most_chars)


def answer_text(surface: str, body: bytes, *, stream: bool, most_chars: int, cut: bool = False) -> str:
    """The text of an answer; empty if it has none (a tool call, an image).

    body : the whole answer, or the events of a stream. cut : whether the body was truncated.
    """
    text = "".join(_streamed(surface, body)) if stream else "".join(_whole(surface, _object(body)))
    return shortened(text + CUT if cut and text else text, most_chars)


def behind_thoughts(text: str) -> str:
    """What a model says when it has thought: many servers of open models leave the thoughts in its text."""
    return text.rpartition("</think>")[2]


def shortened(text: str, most_chars: int) -> str:
    """The text or, if it is too long, its beginning and end with a mark between them."""
    if len(text) <= most_chars:
        return text
    half = max((most_chars - len(CUT)) // 2, 1)
    return text[:half] + CUT + text[-half:]


def _spoken(surface: str, body: Mapping[str, object]) -> Iterator[str]:
    system = "".join(_content(body.get("system") or body.get("instructions")))
    if system:
        yield f"system: {system}"
    messages = body.get("input" if surface == "responses" else "messages")
    if isinstance(messages, str):
        yield f"user: {messages}"
    for message in messages if isinstance(messages, list) else ():
        if isinstance(message, dict):
            text = "\n".join(_content(message.get("content", message.get("output"))))
            if text:
                yield f"{message.get('role', 'tool')}: {text}"


def _content(content: object, *, of_a_tool: bool = False) -> Iterator[str]:
    """What a tool gave has texts, and nothing that a tool gave in it: however deep a client nests it."""
    if isinstance(content, str):
        yield content
    for part in content if isinstance(content, list) else ():
        if isinstance(part, dict):
            if isinstance(part.get("text"), str):
                yield part["text"]
            elif part.get("type") == "tool_result" and not of_a_tool:
                yield from _content(part.get("content"), of_a_tool=True)


def _whole(surface: str, answer: Mapping[str, Any]) -> Iterator[str]:
    if surface == "chat":
        choices = answer.get("choices")
        first = choices[0] if isinstance(choices, list) and choices else None
        message = first.get("message") if isinstance(first, dict) else None
        yield from _content(message.get("content") if isinstance(message, dict) else None)
    elif surface == "messages":
        yield from _content(answer.get("content"))
    else:
        output = answer.get("output")
        for item in output if isinstance(output, list) else ():
            if isinstance(item, dict) and item.get("type") == "message":
                yield from _content(item.get("content"))


def _streamed(surface: str, body: bytes) -> Iterator[str]:
    for line in body.splitlines():
        if not line.startswith(b"data:"):
            continue
        event = _object(line[5:])
        delta = event.get("delta")
        if surface == "chat":
            choices = event.get("choices")
            first = choices[0] if isinstance(choices, list) and choices else None
            if isinstance(first, dict) and first.get("index", 0) == 0 and isinstance(first.get("delta"), dict):
                yield from _content(first["delta"].get("content"))
        elif surface == "messages":
            if isinstance(delta, dict) and delta.get("type") == "text_delta" and isinstance(delta.get("text"), str):
                yield delta["text"]
        elif event.get("type") == "response.output_text.delta" and isinstance(delta, str):
            yield delta


def _object(data: bytes) -> Mapping[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
