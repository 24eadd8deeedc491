"""The one middleware: request id, name and origin, key, rate, body, problems, metrics, access line, around a handler.

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

from banditd.core.errors import BanditdError, BudgetExhaustedError
from banditd.obs import logs
from banditd.obs.metrics import Metrics
from banditd.obs.tally import Count, Spread
from banditd.web.access import AccessLog
from banditd.web.api import Failed, Route
from banditd.web.gateway.messages_form import failure_form
from banditd.web.intake import Intake
from banditd.web.keys import INTAKE, KEY_NAME, SEES_DETAILS
from banditd.web.origin import Doorman
from banditd.web.problems import problem_answer
from banditd.web.security import KeyRing, RateLimiter

logger = logging.getLogger("banditd.web")

Bound: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]
_CLOSING: Final = frozenset({408, 413, 415, 421})
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,128}")


@dataclass(slots=True)
class Entry:
    """What the middleware knows of one route: who may call, with what, and its metrics with the labels bound."""

    method: str
    path: str
    scope: str | None
    limited: bool
    by_any_name: bool = False
    page: bool = False
    details: str | None = None
    intake: Intake | None = None
    wants_body: bool = False
    failed: Failed = problem_answer
    seconds: Spread | None = None
    counters: dict[int, Count] = field(default_factory=dict)


class Walk:
    """The middleware's state. ``entries`` maps a registered handler to its route's entry."""

    def __init__(
        self, *, doorman: Doorman, keys: KeyRing, limiter: RateLimiter, access_log: bool, version: str
    ) -> None:
        self._metrics: Metrics | None = None
        self._doorman = doorman
        self._keys = keys
        self._limiter = limiter
        self.access = AccessLog(everything=access_log)
        self._entries: dict[object, Entry] = {}
        self._unmatched = Entry("*", "unmatched", None, limited=True)
        self._ids = itertools.count(1)
        self._prefix = secrets.token_hex(6)
        self._server = f"banditd/{version}"

    def register(self, handler: Bound, route: Route, intake: Intake) -> None:
        """Make a route known. Health checks and metrics are never rate limited: they watch an overload."""
        self._entries[handler] = Entry(
            route.method,
            route.path,
            route.scope,
            limited=route.tag != "operations",
            by_any_name=route.by_any_name,
            page=route.scope is None and route.media == "text/html",
            details=route.details,
            intake=intake,
            wants_body=route.body is not None and route.body_required,
            failed=route.failed,
        )

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
                caller = self._admit(request, entry)
                if caller is not None:
                    request[KEY_NAME] = caller
                if entry.intake is not None and (entry.wants_body or request.body_exists):
                    entry.intake.check(request)
                    request[INTAKE] = entry.intake
                response = await handler(request)
            except (BanditdError, web.HTTPException) as raised:
                error = raised
                response = (failure_form(request) or entry.failed)(raised, request_id)
                if response.status == 500:  # one of ours, but a bug all the same
                    logger.exception("request.failed", extra={"method": entry.method, "route": entry.path})
            except Exception as raised:
                error = raised
                logger.exception("request.failed", extra={"method": entry.method, "route": entry.path})
                response = (failure_form(request) or entry.failed)(raised, request_id)
            headers = response.headers
            headers["x-request-id"] = request_id
            headers["Server"] = self._server
            if request.body_exists and (response.status in _CLOSING or not request.content.at_eof()):
                response.force_close()  # nobody wants the rest, and the next request cannot be found behind it
            elapsed_s = perf_counter() - started
            self._account(entry, request, request_id, response.status, elapsed_s, caller, error)
            if error is not None:
                error.__traceback__ = None  # it holds all that was made of the body, in cycles with who raised it
            return response

        return walk

    def _admit(self, request: web.Request, entry: Entry) -> str | None:
        """The caller's name, if it may call now. What is refused uses up the tokens of its address."""
        limiter = self._limiter
        try:
            self._doorman.check(request, by_any_name=entry.by_any_name, page=entry.page)
            caller = self._keys.authenticate(request, entry.scope)
        except BanditdError:
            if limiter.enabled:
                limiter.take(request.remote or "")
            raise
        if limiter.enabled and entry.limited:
            if caller is None:
                limiter.take(request.remote or "")
            else:
                limiter.take_for_key(caller)
        if entry.details is not None:
            request[SEES_DETAILS] = self._doorman.knows(request) and self._keys.allows(request, entry.details)
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

    def _counter(self, entry: Entry, status: int) -> Count | None:
        if self._metrics is None:
            return None
        counter = self._metrics.requests.labels(entry.method, entry.path, str(status))
        entry.counters[status] = counter
        return counter
