"""From the bytes of a request to a validated model, and from pydantic's errors to fields and mends.

Not the schemas themselves. Nothing here raises anything but BanditdError for what a client sends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from types import UnionType
from typing import Annotated, Any, Final, TypeVar, Union, get_args, get_origin

from aiohttp import web
from pydantic import BaseModel, Field, JsonValue, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, from_json, to_json

from banditd.core.nearest import names_beside, nearest_names
from banditd.core.pace import Pace
from banditd.core.times import parse_time
from banditd.web.api import JSON_BODY
from banditd.web.intake import check_values
from banditd.web.keys import INTAKE
from banditd.web.legible import legible_json
from banditd.web.problems import BadRequestError, InvalidFieldsError
from banditd.web.schemas.base import (
    GROUP_PATTERN,
    MAX_BATCH,
    MODEL_PATTERN,
    NAME_PATTERN,
    TAG_PATTERN,
    TIME_PATTERN,
    UUID_PATTERN,
)

_Model = TypeVar("_Model", bound=BaseModel)
_Item = TypeVar("_Item", bound=BaseModel)
_Any = TypeVar("_Any")
_LIST: Final = TypeAdapter(Annotated[list[JsonValue], Field(max_length=MAX_BATCH)])
_MAX_ERRORS: Final = 20
_AT_ONCE_BYTES: Final = 16_384
# Listing costs as much as checking, for all of them or none: more than this are not listed.
_MAX_LISTED: Final = 1000
_PATTERNS: Final = {
    NAME_PATTERN: "must begin with a letter or digit and hold only letters, digits and . _ : / @ + -",
    MODEL_PATTERN: "may not hold control characters",
    UUID_PATTERN: "must be an id that the daemon gave: a UUID in lower case",
    TAG_PATTERN: "must be a tag and its value, such as task:summarise",
    GROUP_PATTERN: "must be tag: and the name of a tag, such as tag:task",
    TIME_PATTERN: "must be a time in UTC such as 2026-01-31T09:30:00Z",
}
_HINTS: Final = {
    "finite_number": "must be a finite number; NaN and Infinity are not JSON",
    "extra_forbidden": "is not a field of this request",
    "missing": "is required",
}


async def read_body(request: web.Request) -> bytes:
    """The raw body, inflated and within the limits of its route; empty without one.

    Raises BodyTooLargeError, BodyTimeoutError, BadRequestError, InvalidFieldsError for too many values.
    """
    intake = request.get(INTAKE)
    return b"" if intake is None else await intake.read(request)


async def read_model(request: web.Request, model: type[_Model]) -> _Model:
    """The validated body of a request."""
    return await validated(model.model_validate_json, model, await read_body(request))


async def read_with_items(body: bytes, model: type[_Model], field: str, item: type[_Item]) -> _Model:
    """The validated body, of which the items in ``field`` are checked one by one where the body holds many values.

    Raises BadRequestError, InvalidFieldsError.
    """
    parsed = _parsed_many(body, model) if len(body) > _AT_ONCE_BYTES else None
    if not isinstance(parsed, dict) or not isinstance(parsed.get(field), list):
        return await validated(model.model_validate_json, model, body)
    items = await _read_each(parsed[field], item, f"/{field}")
    rest = to_json(parsed | {field: []})
    return (await validated(model.model_validate_json, model, rest)).model_copy(update={field: items})


async def read_items(body: bytes, whole: type[_Model], field: str, item: type[_Item]) -> list[_Item]:
    """The items of a body that is many, checked one by one: others run in between.

    whole : the body but for its items, which stand in the list ``field``.

    Raises BadRequestError, and InvalidFieldsError with the faults of the first items that have some.
    """
    parsed = _parsed_many(body, whole) if len(body) > _AT_ONCE_BYTES else None
    if isinstance(parsed, dict) and set(parsed) == {field} and isinstance(parsed[field], list):
        raw: list[object] = parsed[field]  # as it is: reading it once more would take as long again
    else:
        raw = getattr(await validated(whole.model_validate_json, whole, body), field)
    return await _read_each(raw, item, f"/{field}")


async def read_many(body: bytes, item: type[_Item]) -> list[_Item]:
    """The items of a body that is a list of them, checked one by one: others run in between.

    Raises BadRequestError, and InvalidFieldsError with the faults of the first items that have some.
    """
    parsed = _parsed_many(body, item) if len(body) > _AT_ONCE_BYTES else None
    raw: Sequence[Any] = parsed if isinstance(parsed, list) else await validated(_LIST.validate_json, item, body)
    return await _read_each(raw, item, "")


async def _read_each(raw: Sequence[object], item: type[_Item], at: str) -> list[_Item]:
    """At : pointer of the list within the body."""
    items: list[_Item] = []
    found: list[tuple[str, str]] = []
    pace = Pace()
    for index, one in enumerate(raw):
        encoded = b""
        try:
            if isinstance(one, dict):
                _refuse_long(one, item)
            encoded = to_json(one)
            if len(encoded) > _AT_ONCE_BYTES:
                await check_values(encoded, JSON_BODY.most_elements)
            items.append(item.model_validate_json(encoded))
        except (ValidationError, InvalidFieldsError) as error:
            found += [(f"{at}/{index}{where}", message) for where, message in _faults(error, item, encoded)]
            if len(found) >= _MAX_ERRORS:
                break
        await pace.step()
    if found:
        raise InvalidFieldsError(_summary(found), errors=found[:_MAX_ERRORS])
    return items


def _faults(
    error: ValidationError | InvalidFieldsError, item: type[BaseModel], encoded: bytes
) -> Sequence[tuple[str, str]]:
    """(pointer, message) of what is wrong with an item. Raises what is wrong with the body as a whole."""
    if isinstance(error, InvalidFieldsError):
        return error.errors
    wrong = invalid(error, item, encoded)
    if not isinstance(wrong, InvalidFieldsError):
        raise wrong from None
    return wrong.errors


async def validated(validate: Callable[[bytes], _Any], model: type[BaseModel], body: bytes) -> _Any:
    """What ``validate`` makes of a body; ``model`` names the fields for hints.

    Raises BadRequestError for what is not JSON, InvalidFieldsError for what is not of that shape.
    """
    if len(body) > _AT_ONCE_BYTES:
        _parsed_many(body, model)
    try:
        return validate(body)
    except ValidationError as error:
        if not _is_not_json(error):
            raise invalid(error, model, body) from None
        first = error
    try:
        # Nearly always it is malformed. But a text may hold what its client could not write as JSON.
        mended = legible_json(body) if len(body) <= _AT_ONCE_BYTES else await asyncio.to_thread(legible_json, body)
        if mended is None:
            raise invalid(first, model, body)
        try:
            return validate(mended)
        except ValidationError as error:
            raise invalid(first if _is_not_json(error) else error, model, mended) from None
    finally:
        del first  # its traceback holds this frame, and the body: that would wait for the garbage collector


def _parsed_many(body: bytes, model: type[BaseModel]) -> Any:
    """The value of a body that may hold many, else None: a model makes an error or a value of each, in one go.

    Raises InvalidFieldsError for more fields or items than any body has, or than a field may have.
    """
    if body.count(b":") <= _MAX_LISTED and body.count(b",") <= _MAX_LISTED:
        return None
    try:
        parsed = from_json(body)
    except ValueError:
        return None  # the model says where it is not JSON, and its text may be mended
    if isinstance(parsed, list) and len(parsed) > MAX_BATCH:
        message = f"has {len(parsed)} items; at most {MAX_BATCH} are taken"
        raise InvalidFieldsError(f"the body {message}", errors=[("", message)])
    if not isinstance(parsed, dict):
        return parsed
    if len(parsed) > _MAX_LISTED:
        message = f"{len(parsed)} fields are more than this body can have; is it meant for this path?"
        raise InvalidFieldsError(message, errors=[("", message)])
    _refuse_long(parsed, model)
    return parsed


def _refuse_long(parsed: Mapping[str, Any], model: type[BaseModel]) -> None:
    """Raise InvalidFieldsError for lists and objects that are longer than their fields may be."""
    found = [
        (f"/{name}", f"has {len(value)} elements; at most {most} are taken")
        for name, most in most_elements(model).items()
        if isinstance(value := parsed.get(name), list | dict) and len(value) > most
    ]
    if found:
        raise InvalidFieldsError(_summary(found), errors=found)


@cache
def most_elements(model: type[BaseModel]) -> Mapping[str, int]:
    """Of every field that takes a list or an object of bounded length, that length."""
    found = {}
    for name, stated in model.model_fields.items():
        annotation = stated.rebuild_annotation()
        if lengths := list(_lengths(annotation)):
            found[name] = max(lengths)
    return found


def _lengths(annotation: Any) -> Iterator[int]:
    if get_origin(annotation) in {Union, UnionType}:
        for one in get_args(annotation):
            yield from _lengths(one)
    stated = getattr(annotation, "__metadata__", ())
    if stated and get_origin(get_args(annotation)[0]) in {list, dict}:
        bounds = (bound for one in stated for bound in (one, *getattr(one, "metadata", ())))
        yield from (most for one in bounds if isinstance(most := getattr(one, "max_length", None), int))


def _is_not_json(error: ValidationError) -> bool:
    return (
        error.error_count() == 1 and error.errors(include_url=False, include_input=False)[0]["type"] == "json_invalid"
    )


def read_parameters(request: web.Request, model: type[_Model]) -> _Model:
    """The validated query parameters. Each may be given once."""
    query = request.query
    values: dict[str, str] = dict(query)
    if len(query) != len(values):
        repeated = next(name for name in values if len(query.getall(name)) > 1)
        raise InvalidFieldsError(
            f"the parameter {repeated[:80]!r} is given twice", errors=[(repeated[:80], "give it once")]
        )
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise InvalidFieldsError(
            "a query parameter is not valid: " + _summary(found := _errors(error, model, pointer=False)),
            errors=found,
        ) from None


def check_limit(limit: int, most: int) -> None:
    """Raise InvalidFieldsError for a page longer than the configuration allows."""
    if limit > most:
        message = f"at most {most}"
        raise InvalidFieldsError(f"limit: {message}", errors=[("limit", message)])


def time_of(name: str, text: str | None) -> int | None:
    """A time parameter in microseconds since the epoch. Its pattern has been checked, its calendar not."""
    if text is None:
        return None
    try:
        return max(0, parse_time(text))  # nothing here is older than 1970
    except ValueError:
        message = f"{text} is not a moment of the calendar"
        raise InvalidFieldsError(f"{name}: {message}", errors=[(name, message)]) from None


def invalid(error: ValidationError, model: type[BaseModel], body: bytes) -> BadRequestError | InvalidFieldsError:
    """What to raise for pydantic's error."""
    if error.error_count() > _MAX_LISTED:
        message = (
            f"{error.error_count()} things are wrong with the body, too many to list; is it meant for this path?"
        )
        return InvalidFieldsError(message, errors=[("", message)])
    first = error.errors(include_url=False, include_input=False)[0]
    if first["type"] == "json_invalid":
        reason = str(first.get("ctx", {}).get("error", "unreadable"))
        if not body:
            return BadRequestError("the body is empty; send a JSON object", code="EMPTY_BODY")
        return BadRequestError(f"the body is not valid JSON in UTF-8: {reason}", code="MALFORMED_JSON")
    found = _errors(error, model, pointer=True)
    return InvalidFieldsError(_summary(found), errors=found)


def _errors(error: ValidationError, model: type[BaseModel], *, pointer: bool) -> list[tuple[str, str]]:
    details = error.errors(include_url=False, include_input=False)[:_MAX_ERRORS]
    found: dict[str, str] = {}
    for detail in details:
        # What is wrong with fields that do not go together is wrong with none of them.
        name = str(detail["loc"][0])[:80] if detail["loc"] else ""
        where = _pointer(detail["loc"], model) if pointer else name
        message = _message(detail, model)
        found[where] = f"{found[where]}; or {message}" if where in found else message
    return list(found.items())


def _message(detail: ErrorDetails, model: type[BaseModel]) -> str:
    hint = _HINTS.get(detail["type"]) or _PATTERNS.get(str(detail.get("ctx", {}).get("pattern")))
    if hint is None:
        return detail["msg"].removeprefix("Value error, ")
    if detail["type"] == "extra_forbidden":
        nearest = nearest_names(str(detail["loc"][-1]), names_beside(detail["loc"], model))
        if nearest:
            return f"{hint}; did you mean {nearest[0]!r}?"
    return hint


def _pointer(loc: Sequence[int | str], model: type[BaseModel]) -> str:
    """RFC 6901 pointer. Pydantic puts names of union members into the path; they are left out."""
    steps = [str(step) for step in loc if not (isinstance(step, str) and _is_union_tag(step))]
    return "".join("/" + step[:80].replace("~", "~0").replace("/", "~1") for step in steps)


def _is_union_tag(step: str) -> bool:
    return step in {"constrained-str", "constrained-int", "[key]"} or step.startswith("list[")


def _summary(found: Sequence[tuple[str, str]]) -> str:
    where, message = found[0]
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return f"{where or 'the body'}: {message}{more}"
