"""The routes of slow loss of quality."""

from __future__ import annotations

from typing import Final

from banditd.web.api import Route
from banditd.web.handlers import drift
from banditd.web.problems import CONFLICT, INVALID, MALFORMED, MEDIA, NOT_FOUND, TOO_LARGE, UNAVAILABLE
from banditd.web.schemas import drift as schemas
from banditd.web.schemas.base import NAME_PATTERN

_NAME: Final[dict[str, object]] = {"type": "string", "pattern": NAME_PATTERN, "maxLength": 128}
_POLICY: Final = {"policy": (_NAME, "Name of the policy.")}

DRIFT_ROUTES: Final[tuple[Route, ...]] = (
    Route(
        method="GET", path="/v1/policies/{policy}/drift", handler=drift.get, operation="getDrift",
        summary="Whether quality is slowly lost, and by which cause", tag="looking", scope="read",
        path_parameters=_POLICY, answers={200: schemas.DriftAnswer}, problems=(NOT_FOUND, UNAVAILABLE),
    ),
    Route(
        method="POST", path="/v1/policies/{policy}/anchor/renew", handler=drift.renew, operation="renewAnchor",
        summary="Hold on to the policy as it stands now", tag="looking", scope="admin", path_parameters=_POLICY,
        body=schemas.AnchorRequest, body_required=False, answers={200: schemas.AnchorAnswer},
        problems=(MALFORMED, TOO_LARGE, MEDIA, INVALID, NOT_FOUND, CONFLICT, UNAVAILABLE),
    ),
)  # fmt: skip
