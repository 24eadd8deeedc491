"""What routing has to know of a request for a response, or for embeddings, in OpenAI's form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from banditd.core.errors import InvalidInputError
from banditd.web.gateway.parsed_request import ParsedRequest, read_head

_MEDIA: Final = {"input_image": "vision", "input_file": "documents", "input_audio": "audio"}


def read_responses(body: bytes) -> ParsedRequest:
    """A request for a response. What is not read here is the upstream's to judge.

    Raises BadRequestError, InvalidInputError.
    """
    stated, options, model, stream = read_head(body)
    if stated.get("background") is True:
        raise InvalidInputError(
            "background answers cannot be metered: leave background out, or stream the answer", field="/background"
        )
    given = stated.get("input")
    if given is not None and not isinstance(given, str | list):
        raise InvalidInputError("input must be a text or a list of items", field="/input")
    texts: list[str] = []
    needs: set[str] = set()
    instructions = stated.get("instructions")
    if isinstance(instructions, str):
        texts.append(instructions)
    turns = 0
    if isinstance(given, str):
        texts.append(given)
    elif isinstance(given, list):
        for index, item in enumerate(given):
            if not isinstance(item, dict):
                raise InvalidInputError("every item of the input must be an object", field=f"/input/{index}")
            turns += item.get("role") == "user"
            for part in ("content", "output", "summary"):
                _read_content(item.get(part), texts, needs)
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


def read_embeddings(body: bytes) -> ParsedRequest:
    """A request for embeddings. Its arm is named, but constraints look at the whole text.

    Raises BadRequestError, InvalidInputError.
    """
    stated, options, model, _ = read_head(body)
    given = stated.get("input")
    if not isinstance(given, str | list) or not given:
        raise InvalidInputError("input must be a text, or a list of texts or tokens", field="/input")
    texts = [given] if isinstance(given, str) else [one for one in given if isinstance(one, str)]
    text = "\n\n".join(texts)
    return ParsedRequest(
        model=model,
        stream=False,
        show_usage=True,
        text=text or None,
        turns=1,
        tools=0,
        wanted=frozenset(),
        body=stated,
        options=options,
    )


def _read_content(content: object, texts: list[str], needs: set[str]) -> None:
    if isinstance(content, str):
        texts.append(content)
    elif isinstance(content, list):
        for part in content:
            if not isinstance(part, dict):
                continue
            kind, text = part.get("type"), part.get("text")
            if isinstance(text, str):
                texts.append(text)
            elif isinstance(kind, str) and kind in _MEDIA:
                needs.add(_MEDIA[kind])


def _wanted(stated: Mapping[str, Any], tools: int) -> Iterator[str]:
    if tools:
        yield "tools"
    text = stated.get("text")
    form = text.get("format") if isinstance(text, dict) else None
    if isinstance(form, dict) and form.get("type") == "json_schema":
        yield "json_schema"
    include = stated.get("include")
    if isinstance(include, list) and "message.output_text.logprobs" in include:
        yield "logprobs"
