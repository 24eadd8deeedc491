"""The header ``Idempotency-Key``: reading it, what it stands for, and how an answer says that it is a repeat."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from typing import Final

from aiohttp import web
from pydantic import BaseModel

from banditd.core.pace import Pace
from banditd.core.request_keys import RequestKey
from banditd.web.keys import KEY_NAME
from banditd.web.problems import InvalidFieldsError
from banditd.web.schemas.rewards import KEY_PATTERN

DUPLICATE_HEADER: Final = "x-banditd-duplicate"
MAX_KEY_CHARS: Final = 255
_KEY: Final = re.compile(KEY_PATTERN)


def header_key(request: web.Request) -> str | None:
    """The key as it was sent, None without one. Raises InvalidFieldsError for one that is no key."""
    given = request.headers.getall("Idempotency-Key", None)
    if given is None:
        return None
    if len(given) > 1 or not _KEY.fullmatch(given[0]) or len(given[0]) > MAX_KEY_CHARS:
        message = f"give it once: 1 to {MAX_KEY_CHARS} visible ASCII characters"
        raise InvalidFieldsError(
            f"the header Idempotency-Key is not valid: {message}", errors=[("Idempotency-Key", message)]
        )
    return given[0]


async def request_key(
    request: web.Request, operation: str, body: BaseModel | None = None, *, target: str = ""
) -> RequestKey | None:
    """What the request's key stands for; None without one.

    target : what in the path the operation is about (a decision, an arm). The body counts by what it says: other
    spaces, or another order of its fields, make no other request.
    """
    key = header_key(request)
    if key is None:
        return None
    hashed, pace = hashlib.sha256(f"[{json.dumps(target)}, ".encode()), Pace()
    for piece in pieces_of(body):
        hashed.update(piece.encode())
        await pace.step()
    hashed.update(b"]")
    return RequestKey(
        key=key, key_name=request.get(KEY_NAME, ""), operation=operation, request_hash=hashed.hexdigest()
    )


def pieces_of(body: BaseModel | None) -> Iterator[str]:
    """What a body says as JSON, its names in order; a field of many parts is many pieces."""
    if body is None:
        yield "{}"
        return
    yield "{"
    for number, name in enumerate(sorted(body.model_fields_set)):
        yield f"{', ' if number else ''}{json.dumps(name)}: "
        value = getattr(body, name)
        if isinstance(value, list) and value and isinstance(value[0], BaseModel):
            for place, part in enumerate(value):
                yield ", " if place else "["
                yield json.dumps(part.model_dump(mode="json", exclude_unset=True), sort_keys=True)
            yield "]"
        else:
            stated = body.model_dump(mode="json", exclude_unset=True, include={name})
            yield json.dumps(stated[name], sort_keys=True)
    yield "}"


async def batch_key(request: web.Request, operation: str, items: Sequence[BaseModel]) -> RequestKey | None:
    """The same of a body of many items, item by item: others run in between."""
    key = header_key(request)
    if key is None:
        return None
    hashed, pace = hashlib.sha256(), Pace()
    for item in items:
        stated = json.dumps(item.model_dump(mode="json", exclude_unset=True), sort_keys=True)
        hashed.update(hashlib.sha256(stated.encode()).digest())
        await pace.step()
    return RequestKey(
        key=key, key_name=request.get(KEY_NAME, ""), operation=operation, request_hash=hashed.hexdigest()
    )


def duplicate_header(*, duplicate: bool) -> dict[str, str]:
    """What the head of an answer that repeats an earlier one has beside the rest."""
    return {DUPLICATE_HEADER: "true"} if duplicate else {}
