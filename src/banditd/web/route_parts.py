"""What the route tables share: parameters in paths, kinds of problems, and the GET that only reads."""

from __future__ import annotations

from typing import Final

from banditd.web.api import Route
from banditd.web.problems import INVALID, MALFORMED, MEDIA, TOO_LARGE, UNAVAILABLE
from banditd.web.schemas.base import NAME_PATTERN, UUID_PATTERN

PathParameters = dict[str, tuple[dict[str, object], str]]

NAME: Final[dict[str, object]] = {"type": "string", "pattern": NAME_PATTERN, "maxLength": 128}
POLICY: Final[PathParameters] = {"policy": (NAME, "Name of the policy.")}
BODY: Final = (MALFORMED, TOO_LARGE, MEDIA, INVALID)
"""What may be wrong with a body."""


def id_of(what: str) -> PathParameters:
    """The path parameter ``id``, and what it means."""
    return {"id": ({"type": "string", "pattern": UUID_PATTERN}, what)}


def look(path: str, handler: object, operation: str, summary: str, **more: object) -> Route:
    """A GET that needs the scope ``read``."""
    values = {"method": "GET", "scope": "read", "tag": "looking", "problems": (UNAVAILABLE,)} | more
    return Route(path=path, handler=handler, operation=operation, summary=summary, **values)  # type: ignore[arg-type]  # checked by the dataclass's users
