"""What routing has to know of a request in Anthropic's form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from banditd.core.errors import InvalidInputError
from banditd.web.gateway.parsed_request import ParsedRequest, RequestDraft, messages_of, read_head

_MEDIA: Final = {"image": "vision", "document": "documents"}


def read_messages(body: bytes) -> ParsedRequest:
    """A request for a message, or for the count of its tokens. What is not read here is the upstream's to judge.

    Raises BadRequestError, InvalidInputError.
    """
    draft = read_head(body)
    stated = draft.body
    messages = list(messages_of(stated))
    _read_content(draft, stated.get("system"), "/system")
    for index, message in messages:
        content = message.get("content")
        draft.turns += message["role"] == "user" and not _only_results(content)
        _read_content(draft, content, f"/messages/{index}/content")
    return draft.parsed(stated.get("tools"), _wanted(stated))


def _read_content(draft: RequestDraft, content: object, field: str) -> None:
    if isinstance(content, str):
        draft.texts.append(content)
    elif isinstance(content, list):
        for block in content:
            draft.read_part(block, _MEDIA)
            if isinstance(block, dict) and block.get("type") == "tool_result":
                _read_content(draft, block.get("content"), field)
    elif content is not None:
        raise InvalidInputError("content must be a text or a list of blocks", field=field)


def _only_results(content: object) -> bool:
    """Whether a user message only brings back what tools gave: that is no turn of the user's."""
    return (
        isinstance(content, list)
        and bool(content)
        and all(isinstance(block, dict) and block.get("type") == "tool_result" for block in content)
    )


def _wanted(stated: Mapping[str, Any]) -> Iterator[str]:
    config = stated.get("output_config")
    form = config.get("format") if isinstance(config, dict) else stated.get("output_format")
    if isinstance(form, dict) and form.get("type") == "json_schema":
        yield "json_schema"
