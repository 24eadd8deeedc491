"""A server's span around each request of the API, when traces are asked for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.typedefs import Middleware

from banditd.obs.tracing import Tracing
from banditd.web.keys import TRACE_ID

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def traced(tracing: Tracing) -> Middleware:
    """The middleware. It continues the caller's trace; health checks, metrics and pages are left out."""

    @web.middleware
    async def trace(request: web.Request, handler: Handler) -> web.StreamResponse:
        resource = request.match_info.route.resource
        if resource is None or not resource.canonical.startswith("/v1/"):
            return await handler(request)
        route = resource.canonical
        with tracing.request(
            f"{request.method} {route}",
            request.headers,
            {"http.request.method": request.method, "http.route": route},
        ) as span:
            request[TRACE_ID] = tracing.trace_id(span)
            response = await handler(request)
            span.set_attribute("http.response.status_code", response.status)
            return response

    return trace
