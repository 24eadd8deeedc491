"""The dashboard: its files, and the endpoints that no other page needed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from aiohttp import web

from banditd.core.errors import NotFoundError
from banditd.web.api import Api
from banditd.web.body import check_limit, read_parameters
from banditd.web.files import DashboardFile, dashboard_files
from banditd.web.json import json_answer
from banditd.web.schemas.base import PolicyParameters
from banditd.web.schemas.dashboard import MapParameters, UpstreamsParameters

# Nothing inline and nothing from other hosts, so that no prompt or name can become code.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    # Asked for each time, answered with 304 while it is the same: an upgrade is seen at once.
    "Cache-Control": "no-cache",
}


async def map_(api: Api, request: web.Request) -> web.Response:
    """Where recent queries lie."""
    requested = read_parameters(request, MapParameters)
    check_limit(requested.limit, api.config.max_page)
    return json_answer(await api.services.dashboard.map(requested.policy, requested.limit))


async def upstreams(api: Api, request: web.Request) -> web.Response:
    """The calls of upstreams: how many, how they ended, how long they took."""
    requested = read_parameters(request, UpstreamsParameters)
    found = await api.services.dashboard.upstreams(requested.policy, float(requested.window_s))
    return json_answer({**found, "gateway": api.services.gateway is not None, "open": api.watch.open})


async def choices(api: Api, request: web.Request) -> web.Response:
    """What the policy would choose in every cluster."""
    requested = read_parameters(request, PolicyParameters)
    return json_answer(await api.services.dashboard.choices(requested.policy))


async def abilities(api: Api, request: web.Request) -> web.Response:
    """How difficult every cluster is, and how able every arm."""
    requested = read_parameters(request, PolicyParameters)
    return json_answer(await api.services.abilities.abilities(requested.policy))


async def learning(api: Api, request: web.Request) -> web.Response:
    """What was learned, against fixed arms and over time."""
    requested = read_parameters(request, PolicyParameters)
    return json_answer(await api.services.dashboard.learning(requested.policy))


async def page(_api: Api, request: web.Request) -> web.Response:
    """Where a browser arrives."""
    return _answer(request, (await _files())["index.html"])


async def file(_api: Api, request: web.Request) -> web.Response:
    """A file of the dashboard, by its name: only names that are there, so no path leads outside."""
    found = (await _files()).get(request.match_info["file"])
    if found is None:
        raise NotFoundError("the dashboard has no such file", code="PATH_NOT_FOUND")
    return _answer(request, found)


async def _files() -> Mapping[str, DashboardFile]:
    return await asyncio.to_thread(dashboard_files)  # the first time they are read and compressed


def _answer(request: web.Request, found: DashboardFile) -> web.Response:
    headers = {**_HEADERS, "ETag": found.etag, "Content-Type": found.content_type, "Vary": "Accept-Encoding"}
    if found.etag in request.headers.get("If-None-Match", ""):
        return web.Response(status=304, headers=headers)
    if "gzip" in request.headers.get("Accept-Encoding", ""):
        return web.Response(body=found.gzipped, headers={**headers, "Content-Encoding": "gzip"})
    return web.Response(body=found.body, headers=headers)
