"""Reads a request's conversation: its identity, whether its last turn is still open, and how much was sent before.

One reader for every surface's form. Nothing here refuses a request: unreadable parts are left to the upstream.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from pydantic_core import to_json

from banditd.core.long_json import encode_pieces

# Tuples: what stands in the place of a type may be of any kind, and only in a tuple can everything be looked for.
# Parts and items in which a model has thought: they are signed, and another model may not be sent them.
_THOUGHT: Final = ("thinking", "redacted_thinking", "reasoning", "reasoning.encrypted")
_CALLS: Final = ("tool_use", "server_tool_use", "function_call", "custom_tool_call", "computer_call")
_RESULTS: Final = ("tool_result", "function_call_output", "custom_tool_call_output", "computer_call_output")
_INSTRUCTIONS: Final = ("system", "developer")


@dataclass(frozen=True, slots=True)
class Conversation:
    """One request as a turn.

    opening : what stays the same from turn to turn: the first user message. setting : system prompt and tools.
    open : tools or thinking are under way, so the model that began must go on. sent_share : of the text, in [0, 1],
    what an earlier request of the conversation has sent already, so that its model may have it in a cache.
    """

    opening: bytes
    setting: bytes
    open: bool
    sent_share: float


def read_conversation(body: Mapping[str, Any], *, in_pieces: bool = False) -> Conversation:
    """The conversation of a chat, of messages, or of responses.

    in_pieces : avoid long calls into C code.
    """
    written = partial(encode_pieces, encode=to_json) if in_pieces else to_json
    items = [one for one in _items(body) if isinstance(one, dict)]
    reported = [one for one in items if one.get("role") not in _INSTRUCTIONS]
    before = [one for one in items if one.get("role") in _INSTRUCTIONS]
    first = next((one.get("content") for one in reported if _is_plain(one)), None)
    return Conversation(
        opening=written(first),
        setting=written(
            [body.get("system"), body.get("instructions"), before, body.get("tools"), body.get("functions")]
        ),
        open=_is_open(reported) or body.get("previous_response_id") is not None or kept_in(body) is not None,
        sent_share=_sent_share(items, body),
    )


def kept_in(body: Mapping[str, Any]) -> str | None:
    """The conversation that a response's upstream stores; only that upstream can continue it."""
    stated = None if "messages" in body else body.get("conversation")
    name = stated.get("id") if isinstance(stated, dict) else stated
    return name if isinstance(name, str) and name.strip() else None


def _items(body: Mapping[str, Any]) -> Sequence[Any]:
    messages = body.get("messages", body.get("input"))
    if isinstance(messages, str):
        return [{"role": "user", "content": messages}]
    return messages if isinstance(messages, list) else []


def _is_plain(item: Mapping[str, Any]) -> bool:
    """A user's own words: not the results of tools."""
    if item.get("role") != "user":
        return False
    kinds = [part.get("type") for part in _parts(item)]
    return not kinds or any(kind not in _RESULTS for kind in kinds)


def _is_open(reported: Sequence[Mapping[str, Any]]) -> bool:
    if not reported:
        return False
    return not _is_plain(reported[-1]) or _has_result(reported[-1]) or any(_has_thought(one) for one in reported)


def _has_result(item: Mapping[str, Any]) -> bool:
    return any(part.get("type") in _RESULTS for part in _parts(item))


def _has_thought(item: Mapping[str, Any]) -> bool:
    if item.get("type") in _THOUGHT or item.get("reasoning_details") or item.get("thinking_blocks"):
        return True
    return any(part.get("type") in _THOUGHT for part in _parts(item))


def _parts(item: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    content = item.get("content")
    if isinstance(content, list):
        yield from (part for part in content if isinstance(part, dict))


def _sent_share(items: Sequence[Mapping[str, Any]], body: Mapping[str, Any]) -> float:
    """0 before the first answer; afterwards the share of the text up to the last answer."""
    answered = [i for i, one in enumerate(items) if _is_answer(one)]
    if not answered:
        return 0.0
    setting = sum(_length(body.get(name)) for name in ("system", "instructions", "tools", "functions"))
    lengths = [_length(one) for one in items]
    whole = setting + sum(lengths)
    return (setting + sum(lengths[: answered[-1]])) / whole if whole else 0.0


def _is_answer(item: Mapping[str, Any]) -> bool:
    return item.get("role") == "assistant" or item.get("type") in _CALLS


def _length(value: object) -> int:
    """Characters of all texts in a JSON value."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(_length(one) for one in value.values())
    if isinstance(value, list):
        return sum(_length(one) for one in value)
    return 0
