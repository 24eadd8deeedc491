"""``/v1/policies/{policy}/candidates``: create, list, look at, delete."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from aiohttp import web

from banditd.core.errors import NotFoundError
from banditd.services.candidates.offered import Candidates
from banditd.web.api import Api
from banditd.web.body import read_model
from banditd.web.handlers.reports import path_name
from banditd.web.json import iso_time, json_answer
from banditd.web.keys import KEY_NAME
from banditd.web.schemas.candidates import CandidateRequest


async def create(api: Api, request: web.Request) -> web.Response:
    """A new candidate; 200 where the same one is there already."""
    policy = path_name(request, "policy")
    requested = await read_model(request, CandidateRequest)
    arms: dict[str, Mapping[str, object]] = {arm: dict(fields) for arm, fields in requested.arms.items()}
    made, is_new = await _candidates(api).create(
        policy, requested.name, settings=requested.settings, arms=arms, key_name=request.get(KEY_NAME)
    )
    place = f"/v1/policies/{quote(policy, safe='')}/candidates/{quote(requested.name, safe='')}"
    return json_answer(candidate_answer(made), status=201 if is_new else 200, headers={"Location": place})


async def page(api: Api, request: web.Request) -> web.Response:
    """Every candidate of a policy."""
    found: Any = await _candidates(api).list(path_name(request, "policy"))
    return json_answer({**found, "candidates": [candidate_answer(one) for one in found["candidates"]]})


async def get(api: Api, request: web.Request) -> web.Response:
    """One candidate."""
    found = await _candidates(api).get(path_name(request, "policy"), path_name(request, "candidate"))
    return json_answer(candidate_answer(found))


async def delete(api: Api, request: web.Request) -> web.Response:
    """Delete one; what was found out about it stays."""
    await _candidates(api).delete(path_name(request, "policy"), path_name(request, "candidate"))
    return web.Response(status=204)


def candidate_answer(found: Mapping[str, Any]) -> dict[str, object]:
    """The same with times as clients get them."""
    shown = dict(found)
    shown["created_at"] = iso_time(shown.pop("created_at_us"))
    return shown


def _candidates(api: Api) -> Candidates:
    candidates = api.services.candidates
    if candidates is None:
        raise NotFoundError("this daemon keeps no candidates", code="CANDIDATE_NOT_FOUND")
    return candidates
