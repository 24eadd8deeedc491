"""``/v1/policies/{policy}/drift`` and ``/anchor/renew``: whether quality is slowly being lost, and the anchor."""

from __future__ import annotations

from aiohttp import web

from banditd.core.times import iso_time
from banditd.services.reports.drift import DriftReports
from banditd.web.api import Api, there
from banditd.web.body import read_model
from banditd.web.handlers.reports import path_name
from banditd.web.json import json_answer
from banditd.web.keys import KEY_NAME
from banditd.web.schemas.drift import AnchorRequest


async def get(api: Api, request: web.Request) -> web.Response:
    """A policy's state."""
    return json_answer(await _drift(api).drift(path_name(request, "policy")))


async def renew(api: Api, request: web.Request) -> web.Response:
    """Renew the anchor."""
    policy = path_name(request, "policy")
    requested = await read_model(request, AnchorRequest) if request.body_exists else AnchorRequest()
    anchors = there(api.services.anchors, "this daemon holds on to no anchor", "POLICY_UNKNOWN")
    taken = await anchors.renew(policy, key_name=request.get(KEY_NAME), reason=requested.reason)
    return json_answer({
        "policy": policy, "anchor_id": taken.anchor_id, "taken_at": iso_time(taken.taken_at_us),
        "version": taken.version, "reason": taken.reason,
    })  # fmt: skip


def _drift(api: Api) -> DriftReports:
    return there(api.services.drift, "this daemon watches for no drift", "POLICY_UNKNOWN")
