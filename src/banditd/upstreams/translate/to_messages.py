"""A chat, as a request in Anthropic's form. What that cannot hold is named by ``uncarried``, not left out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

DEFAULT_MAX_TOKENS: Final = 8192
"""Anthropic's form must name a limit; a chat need not."""
ASSISTANT_BEGINS: Final = "(The assistant begins.)"
_DATA: Final = re.compile(r"data:([\w.+/-]+);base64,(.*)", re.DOTALL)
_NO_ID: Final = re.compile(r"[^A-Za-z0-9_-]")
_CHOICES: Final = {"auto": "auto", "required": "any", "none": "none"}
# Of the top level: what the answer would be another without.
_NEEDED: Final = (
    "functions", "function_call", "logprobs", "top_logprobs", "logit_bias", "audio", "prediction",
    "web_search_options", "presence_penalty", "frequency_penalty",
)  # fmt: skip
_INSTRUCTIONS: Final = ("system", "developer")
_ROLES: Final = (*_INSTRUCTIONS, "user", "assistant", "tool")  # anything can be looked for in a tuple


def uncarried(body: Mapping[str, Any]) -> str | None:
    """What of the request Anthropic's form cannot hold; None: it holds all of it."""
    for name in _NEEDED:
        if body.get(name):
            return name
    if body.get("n") not in (None, 1):
        return "n"
    if any(isinstance(one, str) and one.isspace() for one in _stops(body)):
        return "stop"  # refused there
    form = body.get("response_format")
    if isinstance(form, dict) and form.get("type") not in (None, "text"):
        return "response_format"
    if any(tool.get("type") != "function" or not _function(tool) for tool in _dicts(body.get("tools"))):
        return "tools"
    choice = body.get("tool_choice")
    if isinstance(choice, dict) and choice.get("type") != "function":
        return "tool_choice"
    found = (_uncarried_of(message) for message in _dicts(body.get("messages")))
    return next((what for what in found if what is not None), None)


def _uncarried_of(message: Mapping[str, Any]) -> str | None:
    if message.get("role") not in _ROLES:
        return "role"
    parts = _dicts(message.get("content"))
    if message.get("function_call") or message.get("audio") or any(_block(part) is None for part in parts):
        return "content"
    if any(arguments_of(call) is None for call in _dicts(message.get("tool_calls"))):
        return "tool_calls"
    return None


def to_messages(body: Mapping[str, Any]) -> dict[str, object]:
    """The request for a message that asks the same.

    Instructions (system, developer), wherever they stand, become the system prompt. ``seed`` and ``reasoning_effort``
    are left out: the arm's ``params`` say how it thinks.
    """
    reported: dict[str, object] = {"model": body.get("model")}
    limit = body.get("max_completion_tokens")
    reported["max_tokens"] = limit if limit is not None else body.get("max_tokens") or DEFAULT_MAX_TOKENS
    messages = list(_dicts(body.get("messages")))
    system = [_text(message.get("content")) for message in messages if message.get("role") in _INSTRUCTIONS]
    instructions = "\n\n".join(one for one in system if one.strip())
    spoken = _merged(message for message in messages if message.get("role") not in _INSTRUCTIONS)
    if instructions and spoken:
        reported["system"] = instructions
    reported["messages"] = _begun_by_user(spoken, instructions)
    warmth = body.get("temperature")
    if isinstance(warmth, int | float):
        reported["temperature"] = min(warmth, 1)  # the scale ends here
    elif body.get("top_p") is not None:  # many models refuse both
        reported["top_p"] = body["top_p"]
    if body.get("stream") is not None:
        reported["stream"] = body["stream"]
    if stops := _stops(body):
        reported["stop_sequences"] = stops
    if isinstance(body.get("user"), str):
        reported["metadata"] = {"user_id": body["user"]}
    tools = [_tool(_function(tool)) for tool in _dicts(body.get("tools"))]
    if tools:
        reported["tools"] = tools
        _choose(body, reported)
    return reported


def arguments_of(call: Mapping[str, Any]) -> dict[str, Any] | None:
    """The arguments of a tool call; None where they are no JSON object."""
    function = call.get("function")
    given = function.get("arguments") if isinstance(function, dict) else None
    if given is None or (isinstance(given, str) and not given.strip()):
        return {}
    try:
        value = json.loads(given) if isinstance(given, str) else given
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _begun_by_user(messages: list[dict[str, object]], instructions: str) -> list[dict[str, object]]:
    """There the user begins, always: before a greeting of the assistant's, and where there are instructions alone."""
    if messages and messages[0]["role"] == "assistant":
        return [{"role": "user", "content": ASSISTANT_BEGINS}, *messages]
    return messages or ([{"role": "user", "content": instructions}] if instructions else [])


def _stops(body: Mapping[str, Any]) -> list[object]:
    stop = body.get("stop")
    return stop if isinstance(stop, list) else [stop] if stop else []


def _id(stated: object) -> object:
    """The id of a tool call in the letters that are allowed there: some models' have dots and colons."""
    return _NO_ID.sub("_", stated) if isinstance(stated, str) else stated


def _merged(messages: Iterator[Mapping[str, Any]]) -> list[dict[str, object]]:
    """What tools gave, and what the user says next, are one message: its results come first."""
    merged: list[dict[str, object]] = []
    results: list[dict[str, object]] | None = None
    for message in messages:
        role = message.get("role")
        if role == "tool":
            result = {
                "type": "tool_result", "tool_use_id": _id(message.get("tool_call_id")),
                "content": _text(message.get("content")),
            }  # fmt: skip
            if results is None:
                results = []
                merged.append({"role": "user", "content": results})
            results.append(result)
            continue
        blocks = list(_blocks(message))
        if role == "user" and results is not None:
            results += blocks
        elif blocks:
            content = message.get("content")
            plain = isinstance(content, str) and [block["type"] for block in blocks] == ["text"]
            merged.append({"role": role, "content": content if plain else blocks})
        results = None
    return merged


def _blocks(message: Mapping[str, Any]) -> Iterator[dict[str, object]]:
    content = message.get("content")
    texts = [{"type": "text", "text": content}] if isinstance(content, str) else _dicts(content)
    for part in texts:
        block = _block(part)
        if block is not None and str(block.get("text", "?")).strip():  # texts of nothing are refused there
            yield block
    for call in _dicts(message.get("tool_calls")):
        function = call.get("function")
        name = function.get("name") if isinstance(function, dict) else None
        yield {"type": "tool_use", "id": _id(call.get("id")), "name": name, "input": arguments_of(call)}


def _block(part: Mapping[str, Any]) -> dict[str, object] | None:
    kind = part.get("type")
    if kind in ("text", "refusal") and isinstance(part.get(kind), str):
        return {"type": "text", "text": part[kind]}
    given = part.get("image_url")
    url = given.get("url") if isinstance(given, dict) else given
    if kind != "image_url" or not isinstance(url, str):
        return None
    data = _DATA.fullmatch(url)
    if data is not None:
        return {"type": "image", "source": {"type": "base64", "media_type": data[1], "data": data[2]}}
    return {"type": "image", "source": {"type": "url", "url": url}} if url.startswith("http") else None


def _text(content: object) -> str:
    if isinstance(content, str):
        return content
    return "\n\n".join(str(part["text"]) for part in _dicts(content) if isinstance(part.get("text"), str))


def _function(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    function = tool.get("function")
    return function if isinstance(function, dict) and isinstance(function.get("name"), str) else {}


def _tool(function: Mapping[str, Any]) -> dict[str, object]:
    reported: dict[str, object] = {"name": function["name"]}
    if "description" in function:
        reported["description"] = function["description"]
    reported["input_schema"] = function.get("parameters") or {"type": "object", "properties": {}}
    return reported


def _choose(body: Mapping[str, Any], reported: dict[str, object]) -> None:
    choice = body.get("tool_choice")
    chosen: dict[str, object] | None = None
    if isinstance(choice, dict):
        chosen = {"type": "tool", "name": _function(choice).get("name")}
    elif isinstance(choice, str) and choice in _CHOICES:
        chosen = {"type": _CHOICES[choice]}
    if body.get("parallel_tool_calls") is False:
        chosen = chosen or {"type": "auto"}
        if chosen["type"] != "none":
            chosen["disable_parallel_tool_use"] = True
    if chosen is not None:
        reported["tool_choice"] = chosen


def _dicts(value: object) -> Iterator[Mapping[str, Any]]:
    return (one for one in value if isinstance(one, dict)) if isinstance(value, list) else iter(())
