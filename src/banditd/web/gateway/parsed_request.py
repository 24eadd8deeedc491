"""What routing has to know of a chat request: its text, turns, tools, and what an arm must be able to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from pydantic_core import from_json

from banditd.core.errors import InvalidInputError
from banditd.core.long_json import LARGE_BYTES, apart
from banditd.web.gateway.large_body import read_large
from banditd.web.legible import legible_json
from banditd.web.problems import BadRequestError

# Type of a part of a message to the capability that it needs.
_MEDIA: Final = {"image_url": "vision", "input_image": "vision", "image": "vision", "input_audio": "audio"}


@dataclass(frozen=True, slots=True)
class ParsedRequest:
    """A request of the gateway, read. ``body`` is what the upstream gets, ``options`` the object ``banditd``.

    large : it came as more than ``LARGE_BYTES``; nothing may walk all of it in the event loop.
    """

    model: str
    stream: bool
    show_usage: bool
    text: str | None
    turns: int
    tools: int
    wanted: frozenset[str]
    body: dict[str, Any]
    options: object
    large: bool = False


async def parsed(read: Callable[[bytes], ParsedRequest], body: bytes) -> ParsedRequest:
    """What ``read`` makes of a body, apart from the event loop where that is large. Raises what ``read`` raises."""
    large = len(body) > LARGE_BYTES
    requested = await apart(large, read, body)
    return replace(requested, large=True) if large else requested


def parse_object(body: bytes) -> dict[str, Any]:
    """The JSON object of a body. Raises BadRequestError, InvalidFieldsError for too many values in a large one."""
    if not body:
        raise BadRequestError("the body is empty; send a JSON object", code="EMPTY_BODY")
    try:
        value = _read_small(body) if len(body) <= LARGE_BYTES else read_large(body)
    except ValueError as error:
        reason = str(error)
        if len(body) > LARGE_BYTES:  # its lines and columns are not the body's
            reason = reason.partition(" at line ")[0]
        raise BadRequestError(f"the body is not valid JSON in UTF-8: {reason}", code="MALFORMED_JSON") from None
    if not isinstance(value, dict):
        raise BadRequestError("the body must be a JSON object", code="MALFORMED_JSON")
    return value


def _read_small(body: bytes) -> Any:
    try:
        return from_json(body, allow_inf_nan=False, cache_strings="keys")
    except ValueError:
        legible = legible_json(body)
        if legible is None:
            raise
        try:
            return from_json(legible, allow_inf_nan=False, cache_strings="keys")
        except ValueError:
            pass  # what is told is where the client's own bytes are wrong
        raise


def read_head(body: bytes) -> tuple[dict[str, Any], object, str, bool]:
    """(the body, what it says to banditd, the model, whether to stream): what all surfaces have.

    Raises BadRequestError, InvalidInputError.
    """
    stated = parse_object(body)
    options = stated.pop("banditd", None)
    model = stated.get("model")
    if not isinstance(model, str) or not model:
        raise InvalidInputError("model is required: banditd/auto, or a name of GET /v1/models", field="/model")
    stream = stated.get("stream")
    if stream is not None and not isinstance(stream, bool):
        raise InvalidInputError("stream must be true or false", field="/stream")
    return stated, options, model, bool(stream)


def read_chat(body: bytes) -> ParsedRequest:
    """A chat completion request. What is not read here is the upstream's to judge.

    Raises BadRequestError, InvalidInputError.
    """
    stated, options, model, stream = read_head(body)
    messages = stated.get("messages")
    if not isinstance(messages, list) or not messages:
        raise InvalidInputError("messages must be a list of at least one message", field="/messages")
    streaming = stated.get("stream_options")
    text, turns, media = _read_messages(messages)
    tools = stated.get("tools") or stated.get("functions")
    tools_count = len(tools) if isinstance(tools, list) else 0
    return ParsedRequest(
        model=model,
        stream=stream,
        show_usage=isinstance(streaming, dict) and streaming.get("include_usage") is True,
        text=text,
        turns=turns,
        tools=tools_count,
        wanted=frozenset(media) | frozenset(_wanted(stated, tools_count)),
        body=stated,
        options=options,
    )


def _read_messages(messages: list[Any]) -> tuple[str | None, int, set[str]]:
    """All text in order (None without any), the number of user turns, and what its other parts need."""
    texts: list[str] = []
    needs: set[str] = set()
    turns = 0
    for index, message in enumerate(messages):
        if not isinstance(message, dict):
            raise InvalidInputError("every message must be an object", field=f"/messages/{index}")
        role = message.get("role")
        if not isinstance(role, str):
            raise InvalidInputError("every message needs a role", field=f"/messages/{index}/role")
        turns += role == "user"
        content = message.get("content")
        if isinstance(content, str):
            texts.append(content)
        elif isinstance(content, list):
            for part in content:
                _read_part(part, texts, needs)
        elif content is not None:
            raise InvalidInputError(
                "the content of a message must be a text, a list of parts, or null",
                field=f"/messages/{index}/content",
            )
    return "\n\n".join(one for one in texts if one) or None, max(1, turns), needs


def _read_part(part: Any, texts: list[str], needs: set[str]) -> None:
    if not isinstance(part, dict):
        return
    kind, text = part.get("type"), part.get("text")
    if isinstance(text, str):
        texts.append(text)
    elif isinstance(kind, str) and kind in _MEDIA:
        needs.add(_MEDIA[kind])


def _wanted(stated: Mapping[str, Any], tools: int) -> Iterator[str]:
    if tools:
        yield "tools"
    form = stated.get("response_format")
    if isinstance(form, dict) and form.get("type") == "json_schema":
        yield "json_schema"
    if stated.get("logprobs") is True:
        yield "logprobs"
    n = stated.get("n")
    if isinstance(n, int) and n > 1:
        yield "n"
    modalities = stated.get("modalities")
    if isinstance(modalities, list) and "audio" in modalities:
        yield "audio"
