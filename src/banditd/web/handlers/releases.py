"""``/v1/releases`` and ``POST /v1/policies/{policy}/rollback``: a candidate on a growing part of the traffic."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web

from banditd.core.times import iso_time
from banditd.services.releasing.service import ReleaseService, Verb
from banditd.web.api import Api, there
from banditd.web.body import read_model, read_parameters
from banditd.web.handlers.reports import path_name
from banditd.web.handlers.rewards import path_id
from banditd.web.json import json_answer
from banditd.web.keys import KEY_NAME
from banditd.web.schemas.releases import ReleaseParameters, ReleasePromotion, ReleaseRequest, ReleaseVerb

UNKNOWN = "RELEASE_NOT_FOUND"


async def start(api: Api, request: web.Request) -> web.Response:
    """Start a release."""
    requested = await read_model(request, ReleaseRequest)
    begun = await _releases(api).start(
        requested.policy, requested.candidate, requested.terms(), key_name=request.get(KEY_NAME),
        again=requested.again,
    )  # fmt: skip
    return json_answer(_timed(begun), status=201, headers={"Location": f"/v1/releases/{begun['release_id']}"})


async def page(api: Api, request: web.Request) -> web.Response:
    """Releases, newest first."""
    wanted = read_parameters(request, ReleaseParameters)
    found: Any = await _releases(api).page(wanted.policy, wanted.limit)
    return json_answer({"releases": [_timed(one) for one in found["releases"]]})


async def get(api: Api, request: web.Request) -> web.Response:
    """One release."""
    return json_answer(_timed(await _releases(api).get(path_id(request, UNKNOWN))))


async def events(api: Api, request: web.Request) -> web.Response:
    """A release's history."""
    found: Any = await _releases(api).events(path_id(request, UNKNOWN))
    return json_answer({"events": [_timed(one) for one in found["events"]]})


async def points(api: Api, request: web.Request) -> web.Response:
    """A release's recorded points."""
    found: Any = await _releases(api).points(path_id(request, UNKNOWN))
    return json_answer({"points": [_timed(one) for one in found["points"]]})


def verb(name: Verb) -> Callable[[Api, web.Request], Awaitable[web.Response]]:
    """The handler of a verb."""

    async def change(api: Api, request: web.Request) -> web.Response:
        model = ReleasePromotion if name == "promote" else ReleaseVerb
        requested = await read_model(request, model) if request.body_exists else model()
        changed = await _releases(api).change(
            path_id(request, UNKNOWN), name, key_name=request.get(KEY_NAME), reason=requested.reason,
            force=isinstance(requested, ReleasePromotion) and requested.force,
        )  # fmt: skip
        return json_answer(_timed(changed))

    return change


async def roll_back(api: Api, request: web.Request) -> web.Response:
    """Undo the open release, or the newest promotion."""
    policy = path_name(request, "policy")
    requested = await read_model(request, ReleaseVerb) if request.body_exists else ReleaseVerb()
    undone = await _releases(api).roll_back(policy, key_name=request.get(KEY_NAME), reason=requested.reason)
    return json_answer(undone)


def _timed(found: Mapping[str, Any]) -> dict[str, object]:
    """The same with times as clients get them."""
    shown: dict[str, object] = {}
    for name, value in found.items():
        if name.endswith("at_us"):
            shown[name.removesuffix("_us")] = None if value is None else iso_time(value)
        else:
            shown[name] = value
    return shown


def _releases(api: Api) -> ReleaseService:
    return there(api.services.releases, "this daemon releases nothing", UNKNOWN)
