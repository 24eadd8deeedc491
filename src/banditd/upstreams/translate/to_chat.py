"""A request in Anthropic's form, as a chat. What a chat cannot hold is named by ``uncarried``, not left out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

_PLAIN: Final = ("temperature", "top_p", "stream")
_CHOICES: Final = {"auto": "auto", "any": "required", "none": "none"}
# Of the top level: what the answer would be another without.
_NEEDED: Final = ("mcp_servers", "container")
_BLOCKS: Final[Mapping[str, tuple[str, ...]]] = {
    "user": ("text", "image", "tool_result"),
    "assistant": ("text", "tool_use", "thinking", "redacted_thinking"),
    "system": ("text",),
}
MAX_STOPS: Final = 4
MAX_USER: Final = 64
"""Characters of a user's name: more are refused, and Claude Code's have more."""


def uncarried(body: Mapping[str, Any]) -> str | None:
    """What of the request a chat cannot hold; None: it holds all of it."""
    for name in _NEEDED:
        if body.get(name):
            return name
    stops = body.get("stop_sequences")
    if isinstance(stops, list) and len(stops) > MAX_STOPS:
        return "stop_sequences"
    for tool in _dicts(body.get("tools")):
        if tool.get("type", "custom") not in ("custom", None) or not isinstance(tool.get("name"), str):
            return "tools"
    for message in _dicts(body.get("messages")):
        known = _BLOCKS.get(str(message.get("role")))
        if known is None:
            return "role"
        for block in _dicts(message.get("content")):
            if block.get("type") not in known:
                return _named(block)
            if block.get("type") == "image" and image_url(block) is None:
                return "image"
            if block.get("type") == "tool_result" and any(
                part.get("type") != "text" for part in _dicts(block.get("content"))
            ):
                return "tool_result"
    return None


def to_chat(body: Mapping[str, Any], *, max_tokens: str = "max_tokens") -> dict[str, object]:
    """The chat that asks the same. max_tokens : what this upstream calls the limit of its answer.

    Left out are ``thinking``, ``top_k`` and caching marks (the arm's ``params`` say how it thinks), and the thoughts
    of earlier answers, whose signatures mean something to their own model only.
    """
    chat: dict[str, object] = {name: body[name] for name in _PLAIN if name in body}
    chat["model"] = body.get("model")
    chat["messages"] = list(_messages(body))
    if "max_tokens" in body:
        chat[max_tokens] = body["max_tokens"]
    if body.get("stop_sequences"):
        chat["stop"] = body["stop_sequences"]
    tools = [_tool(tool) for tool in _dicts(body.get("tools"))]
    if tools:
        chat["tools"] = tools
        _choose(body.get("tool_choice"), chat)
    metadata = body.get("metadata")
    user_id = metadata.get("user_id") if isinstance(metadata, dict) else None
    if isinstance(user_id, str) and len(user_id) <= MAX_USER:
        chat["user"] = user_id
    config = body.get("output_config")
    form = config.get("format") if isinstance(config, dict) else body.get("output_format")
    if isinstance(form, dict) and form.get("type") == "json_schema":
        schema = {"name": "answer", "schema": form.get("schema"), "strict": True}
        chat["response_format"] = {"type": "json_schema", "json_schema": schema}
    return chat


def image_url(block: Mapping[str, Any]) -> str | None:
    """The URL of a picture's block, its data in it where it has some; None where it is neither."""
    source = block.get("source")
    if not isinstance(source, dict):
        return None
    if source.get("type") == "url" and isinstance(source.get("url"), str):
        return str(source["url"])
    if source.get("type") == "base64" and isinstance(source.get("data"), str):
        return f"data:{source.get('media_type', 'image/png')};base64,{source['data']}"
    return None


def texts_of(content: object) -> str:
    """All texts of a content, a blank line between two."""
    if isinstance(content, str):
        return content
    return "\n\n".join(str(block["text"]) for block in _dicts(content) if isinstance(block.get("text"), str))


def _messages(body: Mapping[str, Any]) -> Iterator[dict[str, object]]:
    system = texts_of(body.get("system"))
    if system:
        yield {"role": "system", "content": system}
    for message in _dicts(body.get("messages")):
        role, content = message.get("role"), message.get("content")
        if role == "assistant":
            yield _assistant(content)
        elif role == "system":
            yield {"role": "system", "content": texts_of(content)}
        else:
            yield from _user(content)


def _assistant(content: object) -> dict[str, object]:
    stated: dict[str, object] = {"role": "assistant", "content": texts_of(content) or None}
    calls = [
        {
            "id": block.get("id"),
            "type": "function",
            "function": {"name": block.get("name"), "arguments": _json(block.get("input") or {})},
        }
        for block in _dicts(content)
        if block.get("type") == "tool_use"
    ]
    if calls:
        stated["tool_calls"] = calls
    elif stated["content"] is None:
        stated["content"] = ""
    return stated


def _user(content: object) -> Iterator[dict[str, object]]:
    """What tools gave comes first, as messages of its own: it must follow the calls."""
    blocks = list(_dicts(content))
    for block in blocks:
        if block.get("type") == "tool_result":
            text = texts_of(block.get("content"))
            if block.get("is_error"):
                text = f"Error: {text}"
            yield {"role": "tool", "tool_call_id": block.get("tool_use_id"), "content": text}
    rest = [block for block in blocks if block.get("type") != "tool_result"]
    if isinstance(content, str) or not any(block.get("type") == "image" for block in rest):
        text = texts_of(content if isinstance(content, str) else rest)
        if text or len(rest) == len(blocks):
            yield {"role": "user", "content": text}
        return
    yield {"role": "user", "content": [_part(block) for block in rest]}


def _part(block: Mapping[str, Any]) -> dict[str, object]:
    if block.get("type") == "image":
        return {"type": "image_url", "image_url": {"url": image_url(block)}}
    return {"type": "text", "text": block.get("text")}


def _tool(tool: Mapping[str, Any]) -> dict[str, object]:
    function: dict[str, object] = {"name": tool["name"]}
    if "description" in tool:
        function["description"] = tool["description"]
    function["parameters"] = tool.get("input_schema") or {"type": "object", "properties": {}}
    return {"type": "function", "function": function}


def _choose(choice: object, chat: dict[str, object]) -> None:
    if not isinstance(choice, dict):
        return
    kind = str(choice.get("type"))
    if kind == "tool":
        chat["tool_choice"] = {"type": "function", "function": {"name": choice.get("name")}}
    elif kind in _CHOICES:
        chat["tool_choice"] = _CHOICES[kind]
    if choice.get("disable_parallel_tool_use") is True:
        chat["parallel_tool_calls"] = False


def _named(block: Mapping[str, Any]) -> str:
    kind = str(block.get("type"))
    return kind if kind in {"document", "image", "tool_use", "tool_result"} else "content"


def _dicts(value: object) -> Iterator[Mapping[str, Any]]:
    return (one for one in value if isinstance(one, dict)) if isinstance(value, list) else iter(())


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
