"""A whole answer of one form in the other."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from banditd.ports.upstreams import TokenUsage
from banditd.upstreams.chat import usage_of as chat_usage
from banditd.upstreams.dialect import MalformedEventError
from banditd.upstreams.messages import merged_usage
from banditd.upstreams.translate.to_messages import arguments_of

STOP_REASONS: Final[Mapping[str, str]] = {
    "stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "function_call": "tool_use",
    "content_filter": "refusal",
}  # fmt: skip
FINISH_REASONS: Final[Mapping[str, str]] = {
    "end_turn": "stop", "stop_sequence": "stop", "pause_turn": "stop", "max_tokens": "length",
    "model_context_window_exceeded": "length", "tool_use": "tool_calls", "refusal": "content_filter",
}  # fmt: skip


def texts_in(stated: Mapping[str, Any]) -> str:
    """What a chat's message or delta says or refuses with. Some models give parts, their thoughts among them."""
    text = ""
    for name in ("content", "refusal"):
        given = stated.get(name)
        parts = given if isinstance(given, list) else [{"type": "text", "text": given}]
        texts = (part.get("text") for part in parts if isinstance(part, dict) and part.get("type") == "text")
        text += "".join(one for one in texts if isinstance(one, str))
    return text


def stop_reason_of(reason: str, *, calls: bool) -> str:
    """Why a message has ended. calls : of tools, on which agents go on; a chat that had to call one says ``stop``."""
    return "tool_use" if calls and reason == "stop" else STOP_REASONS.get(reason, "end_turn")


def message_of(chat: Mapping[str, Any]) -> dict[str, object]:
    """A completion as a message. Raises MalformedEventError for a tool call whose arguments are no JSON object."""
    choice = chat["choices"][0]
    stated = _dict(choice.get("message"))
    reason = choice.get("finish_reason") or "stop"
    text = texts_in(stated)
    given_calls = stated.get("tool_calls")
    calls = [_dict(call) for call in given_calls] if isinstance(given_calls, list) else []
    content: list[dict[str, object]] = [{"type": "text", "text": text}] if text else []
    for number, call in enumerate(calls):
        given = arguments_of(call)
        if given is None and reason != "length":
            raise MalformedEventError("malformed_tool_arguments")
        called = _dict(call.get("function")).get("name")
        content.append(
            {"type": "tool_use", "id": call.get("id") or f"call_{number}", "name": called, "input": given or {}}
        )
    return {
        "id": chat.get("id") or "", "type": "message", "role": "assistant", "model": chat.get("model") or "",
        "content": content, "stop_reason": stop_reason_of(reason, calls=bool(calls)), "stop_sequence": None,
        "usage": messages_usage(chat_usage(chat.get("usage"))),
    }  # fmt: skip


def chat_of(message: Mapping[str, Any], created_s: int) -> dict[str, object]:
    """A message as a completion. created_s : seconds since the Unix epoch, which messages do not tell."""
    texts: list[str] = []
    calls: list[dict[str, object]] = []
    for block in map(_dict, message.get("content") or ()):
        if block.get("type") == "text":
            texts.append(str(block.get("text") or ""))
        elif block.get("type") == "tool_use":
            given = json.dumps(block.get("input") or {}, ensure_ascii=False, separators=(",", ":"))
            function = {"name": block.get("name"), "arguments": given}
            calls.append({"id": block.get("id"), "type": "function", "function": function})
    content = "".join(texts) or (None if calls else "")
    stated: dict[str, object] = {"role": "assistant", "content": content, "refusal": None}
    if calls:
        stated["tool_calls"] = calls
    reason = FINISH_REASONS.get(str(message.get("stop_reason")), "stop")
    return {
        "id": message.get("id") or "", "object": "chat.completion", "created": created_s,
        "model": message.get("model") or "",
        "choices": [{"index": 0, "message": stated, "logprobs": None, "finish_reason": reason}],
        "usage": usage_as_chat(merged_usage(None, message.get("usage")) or TokenUsage(0, 0)),
    }  # fmt: skip


def messages_usage(usage: TokenUsage | None) -> dict[str, int]:
    """Tokens as messages tell them: those read from the cache are counted apart."""
    reported = usage or TokenUsage(0, 0)
    return {
        "input_tokens": reported.input_tokens - reported.cached_input_tokens, "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": reported.cached_input_tokens, "output_tokens": reported.output_tokens,
    }  # fmt: skip


def usage_as_chat(usage: TokenUsage) -> dict[str, object]:
    """Tokens as chats tell them."""
    return {
        "prompt_tokens": usage.input_tokens, "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_input_tokens},
    }  # fmt: skip


def _dict(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
