"""The operations of releases."""

from __future__ import annotations

from typing import Final

from banditd.services.releasing.service import Verb
from banditd.web.api import Route
from banditd.web.handlers import releases
from banditd.web.problems import CONFLICT, INVALID, NOT_FOUND, UNAVAILABLE
from banditd.web.route_parts import BODY, POLICY, id_of, look
from banditd.web.schemas import releases as schemas

_ID: Final = id_of("The release's id.")
_WHAT: Final = {
    "promote": "Take the next step of a release; after the last one the candidate becomes the incumbent",
    "pause": "Stay at the step of a release; its tests go on",
    "resume": "Go on with a paused release",
    "abort": "End a release: all traffic is the incumbent's again",
}


def _verb(name: Verb) -> Route:
    model = schemas.ReleasePromotion if name == "promote" else schemas.ReleaseVerb
    return Route(
        method="POST", path=f"/v1/releases/{{id}}/{name}", handler=releases.verb(name), operation=f"{name}Release",
        summary=_WHAT[name], tag="releases", scope="admin", path_parameters=_ID, body=model, body_required=False,
        answers={200: schemas.ReleaseAnswer}, problems=(*BODY, NOT_FOUND, CONFLICT, UNAVAILABLE),
    )  # fmt: skip


RELEASE_ROUTES: Final[tuple[Route, ...]] = (
    Route(
        method="POST", path="/v1/releases", handler=releases.start, operation="startRelease",
        summary="Give a candidate a growing part of the traffic", tag="releases", scope="admin",
        body=schemas.ReleaseRequest, answers={201: schemas.ReleaseAnswer},
        problems=(*BODY, NOT_FOUND, CONFLICT, UNAVAILABLE),
    ),
    look(
        "/v1/releases", releases.page, "listReleases", "Releases, newest first",
        tag="releases", parameters=schemas.ReleaseParameters, answers={200: schemas.ReleasesAnswer},
        problems=(INVALID, NOT_FOUND, UNAVAILABLE),
    ),
    look(
        "/v1/releases/{id}", releases.get, "getRelease", "How a release stands",
        tag="releases", path_parameters=_ID, answers={200: schemas.ReleaseAnswer}, problems=(NOT_FOUND, UNAVAILABLE),
    ),
    look(
        "/v1/releases/{id}/events", releases.events, "listReleaseEvents", "The history of a release",
        tag="releases", path_parameters=_ID, answers={200: schemas.ReleaseEventsAnswer},
        problems=(NOT_FOUND, UNAVAILABLE),
    ),
    look(
        "/v1/releases/{id}/points", releases.points, "listReleasePoints", "How a release stood, now and then",
        tag="releases", path_parameters=_ID, answers={200: schemas.ReleasePointsAnswer},
        problems=(NOT_FOUND, UNAVAILABLE),
    ),
    _verb("promote"),
    _verb("pause"),
    _verb("resume"),
    _verb("abort"),
    Route(
        method="POST", path="/v1/policies/{policy}/rollback", handler=releases.roll_back,
        operation="rollBackPolicy", summary="Abort the open release, else take the newest promotion back",
        tag="releases", scope="admin", path_parameters=POLICY, body=schemas.ReleaseVerb, body_required=False,
        answers={200: schemas.RollbackAnswer}, problems=(*BODY, NOT_FOUND, CONFLICT, UNAVAILABLE),
    ),
)  # fmt: skip
