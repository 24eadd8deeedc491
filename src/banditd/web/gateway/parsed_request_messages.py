"""What routing has to know of a request in Anthropic's form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from banditd.core.errors import InvalidInputError
from banditd.web.gateway.parsed_request import ParsedRequest, read_head

_MEDIA: Final = {"image": "vision", "document": "documents"}


def read_messages(body: bytes) -> ParsedRequest:
    """A request for a message, or for the count of its tokens. What is not read here is the upstream's to judge.

    Raises BadRequestError, InvalidInputError.
    """
    stated, options, model, stream = read_head(body)
    messages = stated.get("messages")
    if not isinstance(messages, list) or not messages:
        raise InvalidInputError("messages must be a list of at least one message", field="/messages")
    texts: list[str] = []
    needs: set[str] = set()
    _read_content(stated.get("system"), "/system", texts, needs)
    turns = 0
    for index, message in enumerate(messages):
        if not isinstance(message, dict):
            raise InvalidInputError("every message must be an object", field=f"/messages/{index}")
        if not isinstance(message.get("role"), str):
            raise InvalidInputError("every message needs a role", field=f"/messages/{index}/role")
        content = message.get("content")
        turns += message["role"] == "user" and not _only_results(content)
        _read_content(content, f"/messages/{index}/content", texts, needs)
    tools = stated.get("tools")
    count = len(tools) if isinstance(tools, list) else 0
    return ParsedRequest(
        model=model,
        stream=stream,
        show_usage=True,
        text="\n\n".join(one for one in texts if one) or None,
        turns=max(1, turns),
        tools=count,
        wanted=frozenset(needs) | frozenset(_wanted(stated, count)),
        body=stated,
        options=options,
    )


def _read_content(content: object, field: str, texts: list[str], needs: set[str]) -> None:
    if isinstance(content, str):
        texts.append(content)
    elif isinstance(content, list):
        for block in content:
            if isinstance(block, dict):
                _read_block(block, field, texts, needs)
    elif content is not None:
        raise InvalidInputError("content must be a text or a list of blocks", field=field)


def _read_block(block: Mapping[str, Any], field: str, texts: list[str], needs: set[str]) -> None:
    kind, text = block.get("type"), block.get("text")
    if isinstance(text, str):
        texts.append(text)
    elif kind == "tool_result":
        _read_content(block.get("content"), field, texts, needs)
    elif isinstance(kind, str) and kind in _MEDIA:
        needs.add(_MEDIA[kind])


def _only_results(content: object) -> bool:
    """Whether a user message only brings back what tools gave: that is no turn of the user's."""
    return (
        isinstance(content, list)
        and bool(content)
        and all(isinstance(block, dict) and block.get("type") == "tool_result" for block in content)
    )


def _wanted(stated: Mapping[str, Any], tools: int) -> Iterator[str]:
    if tools:
        yield "tools"
    config = stated.get("output_config")
    form = config.get("format") if isinstance(config, dict) else stated.get("output_format")
    if isinstance(form, dict) and form.get("type") == "json_schema":
        yield "json_schema"
