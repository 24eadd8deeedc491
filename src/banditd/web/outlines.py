"""Where requests of each form have their system prompt and their tools, for the outline of their template.

Nothing here refuses anything or reads a large body to its end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice, takewhile
from typing import Any, Final

from banditd.features.outline import outline
from banditd.web.schemas.routing import Message

_INSTRUCTIONS: Final = ("system", "developer")
_MOST: Final = 64  # messages, and parts of each, that are looked at


def outline_of_messages(messages: Iterable[Message] | None, tools: object) -> str | None:
    """Of a conversation as ``POST /v1/route`` takes it."""
    if messages is None and not isinstance(tools, list):
        return None
    before = takewhile(lambda one: one.role in _INSTRUCTIONS, messages or ())
    texts = (text for one in islice(before, _MOST) for text in _texts(one.content))
    return outline(texts, _names(tools))


def outline_of_body(body: Mapping[str, Any]) -> str | None:
    """Of a chat, of messages, or of a request for a response, as the gateway takes them."""
    return outline(_instructions(body), _names(body.get("tools") or body.get("functions")))


def _instructions(body: Mapping[str, Any]) -> Iterator[str]:
    yield from _texts(body.get("system"))
    yield from _texts(body.get("instructions"))
    items = body.get("messages", body.get("input"))
    for one in islice(items, _MOST) if isinstance(items, list) else ():
        if not isinstance(one, dict) or one.get("role") not in _INSTRUCTIONS:
            return
        yield from _texts(one.get("content"))


def _texts(content: object) -> Iterator[str]:
    """The texts of a content: it is one, or has parts with one each."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, list):
        for part in islice(content, _MOST):
            text = part.get("text") if isinstance(part, dict) else getattr(part, "text", None)
            if isinstance(text, str):
                yield text


def _names(tools: object) -> Iterator[str]:
    """What each tool is called: OpenAI's chat has it in ``function``, the other forms beside the type."""
    for tool in tools if isinstance(tools, list) else ():
        if isinstance(tool, dict):
            function = tool.get("function")
            stated = function.get("name") if isinstance(function, dict) else None
            name = stated or tool.get("name") or tool.get("type")
            if isinstance(name, str):
                yield name
