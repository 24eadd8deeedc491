"""``/v1/promise`` and ``PATCH /v1/policies/{policy}``: the state of promises, and the switches."""

from __future__ import annotations

from aiohttp import web

from banditd.web.api import Api
from banditd.web.body import read_model, read_parameters
from banditd.web.handlers.reports import path_name
from banditd.web.json import json_answer
from banditd.web.schemas.base import PolicyParameters
from banditd.web.schemas.promise import PolicyPatch, PromisePatch


async def get(api: Api, request: web.Request) -> web.Response:
    """The state of a policy's promise."""
    return json_answer(api.services.promises.promise(read_parameters(request, PolicyParameters).policy))


async def patch(api: Api, request: web.Request) -> web.Response:
    """Change the promise."""
    requested = await read_model(request, PromisePatch)
    changes = {"promise": requested.changes()}
    return json_answer(await api.services.promises.change(requested.policy, changes))


async def patch_policy(api: Api, request: web.Request) -> web.Response:
    """Change the switches of a policy."""
    policy = path_name(request, "policy")
    requested = await read_model(request, PolicyPatch)
    return json_answer(await api.services.promises.change(policy, requested.changes()))
