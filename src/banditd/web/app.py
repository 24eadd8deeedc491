"""Puts the HTTP application together: one table of routes, one middleware, one cleanup context."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Middleware

from banditd.web.api import Api, OpenServices, WebSettings
from banditd.web.intake import Intake, OpenReads
from banditd.web.keys import API, DIRECT, SERVICES
from banditd.web.middleware import Walk
from banditd.web.openapi import describe
from banditd.web.origin import Doorman
from banditd.web.routes import ROUTES
from banditd.web.security import KeyRing, RateLimiter

__all__ = ["WebSettings", "create_app"]

LINGER_S: Final = 1.0
STREAM_END_S: Final = 1.0


def create_app(
    open_services: OpenServices, settings: WebSettings, *, outside: Sequence[Middleware] = ()
) -> web.Application:
    """The application. ``open_services`` is entered at start-up and left after the last answer.

    ``outside`` are middlewares around ours: none unless traces are asked for.

    Raises ConfigurationError for API keys that cannot work.
    """
    api = Api(settings, partial(describe, ROUTES, version=settings.version))
    reads = OpenReads()
    walk = Walk(
        doorman=Doorman(
            allowed_hosts=settings.allowed_hosts,
            bound_host=settings.bound_host,
            keyed=bool(settings.api_keys),
            public_url=settings.public_url,
        ),
        keys=KeyRing(settings.api_keys),
        limiter=RateLimiter(rate_per_s=settings.rate_limit_per_s, burst=settings.rate_limit_burst),
        access_log=settings.access_log,
        version=settings.version,
    )
    # A handler that was started finishes even when its client has gone: rewards and decisions are durable
    # or refused, never half done. That is the library's default and must stay so.
    middleware = walk.middleware()
    app = web.Application(
        client_max_size=settings.max_body_bytes,
        middlewares=[*outside, middleware],
        # Inflating is ours (intake.py): the library's goes on after a body was refused. So does its reading, of what
        # nobody wants: just long enough that the client sees the answer.
        handler_args={"auto_decompress": False, "lingering_time": LINGER_S},
    )
    app[API] = api
    app[DIRECT] = direct = {}
    for route in ROUTES:
        handler = partial(route.handler, api)
        walk.register(handler, route, Intake(route.takes, settings, reads))
        path = route.pattern or route.path
        if route.method == "GET":
            app.router.add_get(path, handler, expect_handler=_expect)  # and HEAD
        else:
            app.router.add_route(route.method, path, handler, expect_handler=_expect)
        if not outside and "{" not in path:
            direct[route.method, path] = partial(middleware, handler=handler)
    app.on_shutdown.append(partial(_stop_reading, reads))
    app.on_shutdown.append(partial(_end_streams, api))
    app.cleanup_ctx.append(partial(_services, open_services, api, walk))
    return app


async def _expect(_: web.Request) -> None:
    """Ask for no body yet: ``Intake.read`` does, of those who may send one."""


async def _end_streams(api: Api, _: web.Application) -> None:
    # The library closes connections at its limit without a word: streams end a moment before, and say why.
    api.watch.stop(max(0.0, api.config.shutdown_timeout_s - STREAM_END_S))


async def _stop_reading(reads: OpenReads, _: web.Application) -> None:
    reads.stop()


async def _services(open_services: OpenServices, api: Api, walk: Walk, app: web.Application) -> AsyncIterator[None]:
    async with open_services() as daemon:
        api.services, api.metrics = daemon.services, daemon.metrics
        walk.measure(daemon.metrics)
        app[SERVICES] = daemon.services
        yield
    walk.access.flush()
