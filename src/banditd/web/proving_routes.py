"""The operations with which a change is proven before, during and after it is made."""

from __future__ import annotations

from typing import Final

from banditd.web.api import Route
from banditd.web.candidate_routes import CANDIDATE_ROUTES
from banditd.web.handlers import drift
from banditd.web.judging_routes import JUDGING_ROUTES
from banditd.web.problems import CONFLICT, NOT_FOUND, UNAVAILABLE
from banditd.web.release_routes import RELEASE_ROUTES
from banditd.web.route_parts import BODY, POLICY, look
from banditd.web.schemas import drift as schemas

_DRIFT_ROUTES: Final[tuple[Route, ...]] = (
    look(
        "/v1/policies/{policy}/drift", drift.get, "getDrift", "Whether quality is slowly lost, and by which cause",
        path_parameters=POLICY, answers={200: schemas.DriftAnswer}, problems=(NOT_FOUND, UNAVAILABLE),
    ),
    Route(
        method="POST", path="/v1/policies/{policy}/anchor/renew", handler=drift.renew, operation="renewAnchor",
        summary="Hold on to the policy as it stands now", tag="looking", scope="admin", path_parameters=POLICY,
        body=schemas.AnchorRequest, body_required=False, answers={200: schemas.AnchorAnswer},
        problems=(*BODY, NOT_FOUND, CONFLICT, UNAVAILABLE),
    ),
)  # fmt: skip

PROVING_ROUTES: Final[tuple[Route, ...]] = (*JUDGING_ROUTES, *CANDIDATE_ROUTES, *RELEASE_ROUTES, *_DRIFT_ROUTES)
