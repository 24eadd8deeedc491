"""``GET /v1/policies/{policy}/drift``: whether quality is slowly lost, and why."""

from __future__ import annotations

from aiohttp import web

from banditd.core.errors import NotFoundError
from banditd.services.bundle import Drift
from banditd.web.api import Api
from banditd.web.handlers.reports import path_name
from banditd.web.json import json_answer


async def get(api: Api, request: web.Request) -> web.Response:
    """How a policy stands."""
    return json_answer(await _drift(api).drift(path_name(request, "policy")))


def _drift(api: Api) -> Drift:
    drift = api.services.drift
    if drift is None:
        raise NotFoundError("this daemon watches for no drift", code="POLICY_UNKNOWN")
    return drift
