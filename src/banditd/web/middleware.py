"""The one middleware: request id, key, rate, problems, metrics, access line, in that order around a handler.

One function on purpose: on the hot path every extra layer is a coroutine and a frame for each request.
"""

from __future__ import annotations

import itertools
import logging
import re
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from time import perf_counter
from typing import Final, TypeAlias

from aiohttp import web
from aiohttp.typedefs import Middleware
from prometheus_client import Counter, Histogram

from banditd.core.errors import BanditdError, BudgetExhaustedError
from banditd.obs import logs
from banditd.obs.metrics import Metrics
from banditd.web.access import AccessLog
from banditd.web.api import Route
from banditd.web.keys import KEY_NAME
from banditd.web.problems import problem_answer
from banditd.web.security import KeyRing, RateLimiter

logger = logging.getLogger("banditd.web")

Bound: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,128}")


@dataclass(slots=True)
class Entry:
    """What the middleware knows of one route: its scope, and its metrics with the labels bound."""

    method: str
    path: str
    scope: str | None
    limited: bool
    seconds: Histogram | None = None
    counters: dict[int, Counter] = field(default_factory=dict)


class Walk:
    """The middleware's state. ``entries`` maps a registered handler to its route's entry."""

    def __init__(self, *, keys: KeyRing, limiter: RateLimiter, access_log: bool, version: str) -> None:
        self._metrics: Metrics | None = None
        self._keys = keys
        self._limiter = limiter
        self.access = AccessLog(everything=access_log)
        self._entries: dict[object, Entry] = {}
        self._unmatched = Entry("*", "unmatched", None, limited=True)
        self._ids = itertools.count(1)
        self._prefix = secrets.token_hex(6)
        self._server = f"banditd/{version}"

    def register(self, handler: Bound, route: Route) -> None:
        """Make a route known. Health checks and metrics are never rate limited: they watch an overload."""
        limited = route.tag != "operations"
        self._entries[handler] = Entry(route.method, route.path, route.scope, limited)

    def measure(self, metrics: Metrics) -> None:
        """Where to count; called once, when the services are open."""
        self._metrics = metrics
        for entry in (*self._entries.values(), self._unmatched):
            entry.counters.clear()
            entry.seconds = metrics.request_seconds.labels(entry.path)

    def middleware(self) -> Middleware:
        """The function that aiohttp calls around every handler, 404 and 405 included."""

        @web.middleware
        async def walk(request: web.Request, handler: Bound) -> web.StreamResponse:
            started = perf_counter()
            entry = self._entries.get(handler, self._unmatched)
            request_id = request.headers.get("x-request-id")
            if request_id is None or not _REQUEST_ID.fullmatch(request_id):
                request_id = f"{self._prefix}-{next(self._ids):x}"
            logs.request_id.set(request_id)
            caller: str | None = None
            error: BaseException | None = None
            try:
                if self._limiter.enabled:
                    caller = self._admit(request, entry)
                else:
                    caller = self._keys.authenticate(request, entry.scope)
                if caller is not None:
                    request[KEY_NAME] = caller
                response = await handler(request)
            except (BanditdError, web.HTTPException) as raised:
                error = raised
                response = problem_answer(raised, request_id)
                if response.status == 500:  # one of ours, but a bug all the same
                    logger.exception("request.failed", extra={"method": entry.method, "route": entry.path})
            except Exception as raised:
                error = raised
                logger.exception("request.failed", extra={"method": entry.method, "route": entry.path})
                response = problem_answer(raised, request_id)
            headers = response.headers
            headers["x-request-id"] = request_id
            headers["Server"] = self._server
            elapsed_s = perf_counter() - started
            self._account(entry, request, request_id, response.status, elapsed_s, caller, error)
            return response

        return walk

    def _admit(self, request: web.Request, entry: Entry) -> str | None:
        """The caller's name, if it may call now. Wrong keys use up the tokens of their address."""
        try:
            caller = self._keys.authenticate(request, entry.scope)
        except BanditdError:
            self._limiter.take(request.remote or "")
            raise
        if entry.limited:
            self._limiter.take(caller or request.remote or "")
        return caller

    def _account(
        self,
        entry: Entry,
        request: web.Request,
        request_id: str,
        status: int,
        elapsed_s: float,
        caller: str | None,
        error: BaseException | None,
    ) -> None:
        if entry.seconds is not None:
            entry.seconds.observe(elapsed_s)
        counter = entry.counters.get(status) or self._counter(entry, status)
        if counter is not None:
            counter.inc()
        if status == 429 and self._metrics is not None and not isinstance(error, BudgetExhaustedError):
            self._metrics.rate_limited.inc()
        if self.access.wants(status):
            fields = {
                "request_id": request_id,
                "method": request.method,
                "route": entry.path,
                "status": status,
                "duration_ms": round(elapsed_s * 1e3, 3),
                "key": caller,
                "code": error.code if isinstance(error, BanditdError) else None,
            }
            self.access.add(fields, failed=status >= 500)

    def _counter(self, entry: Entry, status: int) -> Counter | None:
        if self._metrics is None:
            return None
        counter = self._metrics.requests.labels(entry.method, entry.path, str(status))
        entry.counters[status] = counter
        return counter
