"""What a request says to banditd: in the object ``banditd`` of its body, and in its ``x-banditd-*`` headers."""

from __future__ import annotations

from typing import Any, Final

from aiohttp import web
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from banditd.core.errors import InvalidInputError
from banditd.core.nearest import nearest_names
from banditd.web.legible import legible_label
from banditd.web.schemas.chat import GatewayOptions

HEADER: Final = "x-banditd-"
_TAG: Final = "tag-"
_SHORT: Final = {"session": "session_id"}
_LISTS: Final = frozenset({"candidates", "excluded_arms", "capabilities"})
# Values that no header can hold in a form worth having.
_BODY_ONLY: Final = frozenset({"tags", "features", "embedding"})
ELSEWHERE: Final = {
    "dry_run": "POST /v1/route chooses without recording",
    "defer_activation": "POST /v1/route defers; a call of the gateway is active",
    "input": "the gateway reads the request's own messages",
    "messages": "the gateway reads the request's own messages",
    "tools": "the gateway counts the request's own tools",
}


_NOTHING: Final = GatewayOptions()


def read_options(request: web.Request, body: object) -> GatewayOptions:
    """Both sources as one, the body's first. Raises InvalidInputError that names what is unknown, and the nearest."""
    from_headers = _from_headers(request)
    if body is None:
        return from_headers
    if not isinstance(body, dict):
        raise InvalidInputError("banditd must be an object of options", field="/banditd")
    try:
        from_body = GatewayOptions.model_validate(body)
    except ValidationError as error:
        raise _refused(error, "banditd.", "/banditd/") from None
    given = {name: getattr(from_headers, name) for name in from_headers.model_fields_set}
    given |= {name: getattr(from_body, name) for name in from_body.model_fields_set}
    if from_headers.tags and from_body.tags:
        given["tags"] = {**from_headers.tags, **from_body.tags}
    return from_headers.model_copy(update=given)


def _from_headers(request: web.Request) -> GatewayOptions:
    values: dict[str, Any] = {}
    tags: dict[str, str] = {}
    for header, given in request.headers.items():
        lower = header.lower()
        if not lower.startswith(HEADER):
            continue
        value = legible_label(given)
        name = lower.removeprefix(HEADER)
        if name.startswith(_TAG):
            tags[name.removeprefix(_TAG)] = value
            continue
        option = _SHORT.get(name, name.replace("-", "_"))
        if option not in GatewayOptions.model_fields or option in _BODY_ONLY:
            raise InvalidInputError(_unknown(lower, _header_names()), field=lower)
        if option in values:
            raise InvalidInputError(f"the header {lower} is given twice", field=lower)
        values[option] = [one.strip() for one in value.split(",")] if option in _LISTS else value.strip()
    if tags:
        values["tags"] = tags
    if not values:
        return _NOTHING
    try:
        return GatewayOptions.model_validate(values, strict=False)
    except ValidationError as error:
        raise _refused(error, HEADER, HEADER) from None


def _header_names() -> list[str]:
    plain = (name for name in GatewayOptions.model_fields if name not in _BODY_ONLY)
    return [HEADER + _header_of(name) for name in plain]


def _header_of(option: str) -> str:
    short = next((short for short, long in _SHORT.items() if long == option), option)
    return short.replace("_", "-")


def _refused(error: ValidationError, shown: str, pointer: str) -> InvalidInputError:
    first: ErrorDetails = error.errors(include_url=False, include_input=False)[0]
    name = ".".join(str(step) for step in first["loc"])[:120]
    if first["type"] == "extra_forbidden":
        if name in ELSEWHERE:
            return InvalidInputError(f"{shown}{name} is no option here: {ELSEWHERE[name]}", field=pointer + name)
        return InvalidInputError(
            _unknown(shown + name, [shown + n for n in GatewayOptions.model_fields]), field=pointer + name
        )
    where = name if shown != HEADER else _header_of(name)
    return InvalidInputError(f"{shown}{where}: {first['msg'].removeprefix('Value error, ')}", field=pointer + where)


def _unknown(name: str, known: list[str]) -> str:
    nearest = nearest_names(name, known, cutoff=0.5)
    hint = f"did you mean {nearest[0]}?" if nearest else f"there are {', '.join(known)}"
    return f"{name[:120]} is no option of banditd; {hint}"
