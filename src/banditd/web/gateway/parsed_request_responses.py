"""What routing has to know of a request for a response, or for embeddings, in OpenAI's form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from banditd.core.errors import InvalidInputError
from banditd.web.gateway.parsed_request import ParsedRequest, RequestDraft, read_head

_MEDIA: Final = {"input_image": "vision", "input_file": "documents", "input_audio": "audio"}


def read_responses(body: bytes) -> ParsedRequest:
    """A request for a response. What is not read here is the upstream's to judge.

    Raises BadRequestError, InvalidInputError.
    """
    draft = read_head(body)
    stated = draft.body
    if stated.get("background") is True:
        raise InvalidInputError(
            "background answers cannot be metered: leave background out, or stream the answer", field="/background"
        )
    given = stated.get("input")
    if given is not None and not isinstance(given, str | list):
        raise InvalidInputError("input must be a text or a list of items", field="/input")
    instructions = stated.get("instructions")
    if isinstance(instructions, str):
        draft.texts.append(instructions)
    if isinstance(given, str):
        draft.texts.append(given)
    elif isinstance(given, list):
        for index, item in enumerate(given):
            if not isinstance(item, dict):
                raise InvalidInputError("every item of the input must be an object", field=f"/input/{index}")
            draft.turns += item.get("role") == "user"
            if isinstance(item.get("arguments"), str):
                draft.unread_chars += len(item["arguments"])
            for part in ("content", "output", "summary"):
                _read_content(draft, item.get(part))
    return draft.parsed(stated.get("tools"), _wanted(stated))


def read_embeddings(body: bytes) -> ParsedRequest:
    """A request for embeddings. Its arm is named, but constraints look at the whole text.

    Raises BadRequestError, InvalidInputError.
    """
    draft = read_head(body)
    given = draft.body.get("input")
    if not isinstance(given, str | list) or not given:
        raise InvalidInputError("input must be a text, or a list of texts or tokens", field="/input")
    draft.stream = False
    draft.texts = [given] if isinstance(given, str) else [one for one in given if isinstance(one, str)]
    return draft.parsed(None, ())


def _read_content(draft: RequestDraft, content: object) -> None:
    if isinstance(content, str):
        draft.texts.append(content)
    elif isinstance(content, list):
        for part in content:
            draft.read_part(part, _MEDIA)


def _wanted(stated: Mapping[str, Any]) -> Iterator[str]:
    text = stated.get("text")
    form = text.get("format") if isinstance(text, dict) else None
    if isinstance(form, dict) and form.get("type") == "json_schema":
        yield "json_schema"
    include = stated.get("include")
    if isinstance(include, list) and "message.output_text.logprobs" in include:
        yield "logprobs"
