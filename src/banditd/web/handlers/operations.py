"""Health, metrics, the API's description, and the few pages for people."""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import web

from banditd.core.errors import BanditdError, NotFoundError
from banditd.services.reports.rows import with_times
from banditd.web import pages
from banditd.web.api import Api
from banditd.web.json import JSON_TYPE, json_answer
from banditd.web.keys import SEES_DETAILS
from banditd.web.problems import KINDS

# A scrape must be answered within the usual ten seconds even if the database does not respond.
READINESS_TIMEOUT_S: Final = 3.0


async def liveness(api: Api, _: web.Request) -> web.Response:
    """The process answers. Nothing else is checked, since a restart would not repair a database."""
    return json_answer({"status": "ok", "version": api.config.version})


async def readiness(api: Api, request: web.Request) -> web.Response:
    """Whether this process should get traffic.

    Anybody sees yes or no and what fails; the details need the scope read.
    """
    ready, parts = await api.services.health.readiness()
    body: dict[str, object] = {"status": "ready" if ready else "not ready", "failing": parts["failing"]}
    if request.get(SEES_DETAILS):
        body = {**parts, **body}
        jobs = parts.get("jobs")
        if isinstance(jobs, list):
            body["jobs"] = [with_times(job) for job in jobs]
    return json_answer(body, status=200 if ready else 503)


async def metrics(api: Api, _: web.Request) -> web.Response:
    """Prometheus' text format; checks every part first, so that ``banditd_ready`` is up to date."""
    try:
        async with asyncio.timeout(READINESS_TIMEOUT_S):
            await api.services.health.readiness()
    except (TimeoutError, BanditdError):
        api.metrics.up.set(0)
    return web.Response(body=api.metrics.render(), headers={"Content-Type": api.metrics.content_type})


async def openapi(api: Api, _: web.Request) -> web.Response:
    """OpenAPI 3.1, made from the route table."""
    return web.Response(body=await _description(api), headers={"Content-Type": JSON_TYPE})


async def docs(api: Api, _: web.Request) -> web.Response:
    return _page(pages.docs(await _description(api)))


async def _description(api: Api) -> bytes:
    """In a thread: making it takes long, once."""
    return await asyncio.to_thread(lambda: api.openapi)


async def problem(_api: Api, request: web.Request) -> web.Response:
    """What a problem's ``type`` points at."""
    kind = KINDS.get(request.match_info["slug"])
    if kind is None:
        raise NotFoundError("there is no such kind of problem", code="PROBLEM_UNKNOWN")
    return _page(pages.problem(kind))


def _page(html: str) -> web.Response:
    return web.Response(
        body=html.encode(),
        headers={
            "Content-Type": "text/html; charset=utf-8",
            # Everything a page needs is in it, so nothing else may be loaded or run.
            "Content-Security-Policy": ("default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
            "X-Content-Type-Options": "nosniff",
        },
    )
