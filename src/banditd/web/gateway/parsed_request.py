"""What routing has to know of a chat request: its text, turns, tools, and what an arm must be able to do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from pydantic_core import from_json

from banditd.core.errors import InvalidInputError
from banditd.core.long_json import LARGE_BYTES, apart
from banditd.web.gateway.large_body import read_large
from banditd.web.legible import legible_json
from banditd.web.problems import BadRequestError

# Type of a part of a message to the capability that it needs.
_MEDIA: Final = {"image_url": "vision", "input_image": "vision", "image": "vision", "input_audio": "audio"}


class ParsedRequest(NamedTuple):
    """A request of the gateway, read. ``body`` is what the upstream gets, ``options`` the object ``banditd``.

    unread_chars : of its tools and their calls, which are no text.
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
    unread_chars: int = 0
    large: bool = False


@dataclass(slots=True)
class RequestDraft:
    """What every form of request begins with, and what is gathered of the rest.

    turns : of the user. unread_chars : of calls of tools.
    """

    body: dict[str, Any]
    options: object
    model: str
    stream: bool
    texts: list[str] = field(default_factory=list)
    needs: set[str] = field(default_factory=set)
    turns: int = 0
    unread_chars: int = 0

    def read_part(self, part: object, media: Mapping[str, str]) -> None:
        """Take the text of a part of a message, or what it needs. media : type of a part to a capability."""
        if not isinstance(part, dict):
            return
        kind, text = part.get("type"), part.get("text")
        if isinstance(text, str):
            self.texts.append(text)
        elif kind == "tool_use":
            self.unread_chars += json_chars(part)
        elif isinstance(kind, str) and kind in media:
            self.needs.add(media[kind])

    def parsed(self, tools: object, wanted: Iterable[str], *, show_usage: bool = True) -> ParsedRequest:
        """The whole request. wanted : what an arm must be able to do, beside what tools and parts need."""
        count = len(tools) if isinstance(tools, list) else 0
        return ParsedRequest(
            model=self.model,
            stream=self.stream,
            show_usage=show_usage,
            text="\n\n".join(one for one in self.texts if one) or None,
            turns=max(1, self.turns),
            tools=count,
            wanted=frozenset((*self.needs, *wanted, *(("tools",) if count else ()))),
            body=self.body,
            options=self.options,
            unread_chars=self.unread_chars + (json_chars(tools) if count else 0),
        )


def json_chars(value: object) -> int:
    """Characters of a JSON value, about."""
    if isinstance(value, str):
        return len(value) + 2
    if isinstance(value, dict):
        return sum(len(name) + 4 + json_chars(one) for name, one in value.items()) + 2
    return sum(json_chars(one) + 1 for one in value) + 2 if isinstance(value, list) else 4


async def parsed(read: Callable[[bytes], ParsedRequest], body: bytes) -> ParsedRequest:
    """What ``read`` makes of a body, apart from the event loop where that is large. Raises what ``read`` raises."""
    large = len(body) > LARGE_BYTES
    requested = await apart(large, read, body)
    return requested._replace(large=True) if large else requested


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


def read_head(body: bytes) -> RequestDraft:
    """The object ``banditd`` taken out, the model and whether a stream is wanted.

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
    return RequestDraft(stated, options, model, bool(stream))


def messages_of(body: Mapping[str, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    """The messages of a chat, each with its place. Raises InvalidInputError."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise InvalidInputError("messages must be a list of at least one message", field="/messages")
    for index, message in enumerate(messages):
        if not isinstance(message, dict):
            raise InvalidInputError("every message must be an object", field=f"/messages/{index}")
        if not isinstance(message.get("role"), str):
            raise InvalidInputError("every message needs a role", field=f"/messages/{index}/role")
        yield index, message


def read_chat(body: bytes) -> ParsedRequest:
    """A chat completion request. What is not read here is the upstream's to judge.

    Raises BadRequestError, InvalidInputError.
    """
    draft = read_head(body)
    stated = draft.body
    for index, message in messages_of(stated):
        draft.turns += message["role"] == "user"
        if calls := message.get("tool_calls"):
            draft.unread_chars += json_chars(calls)
        content = message.get("content")
        if isinstance(content, str):
            draft.texts.append(content)
        elif isinstance(content, list):
            for part in content:
                draft.read_part(part, _MEDIA)
        elif content is not None:
            raise InvalidInputError(
                "the content of a message must be a text, a list of parts, or null",
                field=f"/messages/{index}/content",
            )
    streaming = stated.get("stream_options")
    show_usage = isinstance(streaming, dict) and streaming.get("include_usage") is True
    return draft.parsed(stated.get("tools") or stated.get("functions"), _wanted(stated), show_usage=show_usage)


def _wanted(stated: Mapping[str, Any]) -> Iterator[str]:
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
