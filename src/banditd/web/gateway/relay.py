"""From an exchange to the client: the same for every surface.

A stream's bytes are passed on as they came, in whole events, one write for every read: a slow client slows its
upstream. What was not finished never ends cleanly.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from aiohttp import web
from multidict import CIMultiDict

from banditd.core.errors import BanditdError, InvariantError, UnavailableError
from banditd.core.types import Decision
from banditd.obs import logs
from banditd.obs.metrics import Metrics
from banditd.ports.upstreams import StreamEvent
from banditd.services.gateway.exchange import Exchange
from banditd.web.answers import decision_answer
from banditd.web.gateway.forms import Failure, Form, failure_of
from banditd.web.gateway.watch import ClientWatch, Watched
from banditd.web.json import JSON_TYPE, encode
from banditd.web.legible import legible_label

logger = logging.getLogger(__name__)
GONE_STATUS: Final = 499
_MODEL_CHARS: Final = 256
_PLAIN_ID: Final = re.compile(r"[A-Za-z0-9._:-]+")


class _Stream(web.StreamResponse):
    """A head that leaves with the first event: one packet, and one call of the system, before the first byte."""

    _send_headers_immediately = False  # as of the library's own whole answers


@dataclass(frozen=True, slots=True, kw_only=True)
class Relay:
    """How one request is answered.

    show_usage : whether the client asked for the usage of its stream. explain : it asked for details.
    own_ids : the decision's id stands for the upstream's. link : makes the feedback link that the client asked for.
    """

    form: Form
    watch: ClientWatch
    metrics: Metrics
    surface: str
    stream: bool
    show_usage: bool = False
    explain: bool = False
    own_ids: bool = False
    link: Callable[[Decision], str | None] | None = None

    async def answer(self, request: web.Request, exchange: Exchange) -> web.StreamResponse:
        """The whole answer. Its settlement has begun when this returns, whatever happens."""
        outcome = "failed"
        self.metrics.gateway_open.inc()
        try:
            with self.watch.watching(request, self.form.keep_alive) as watched:
                try:
                    response, outcome = await self._answer(watched, exchange)
                except asyncio.CancelledError:
                    if not watched.gone and not watched.stopping:
                        raise
                    watched.task.uncancel()
                    if watched.stopping:
                        return await self._refuse(watched, exchange, failure_of(_stopping()))
                    outcome = "client_gone"
                    response = watched.response or web.Response(status=GONE_STATUS)
                except ConnectionError:
                    outcome = "client_gone"
                    response = watched.response or web.Response(status=GONE_STATUS)
            return response
        finally:
            exchange.finish()  # no harm where it was done; in a task of the gateway's own
            self.metrics.gateway_open.dec()
            self.metrics.count(self.metrics.gateway_requests, self.surface, outcome)

    async def _answer(self, watched: Watched, exchange: Exchange) -> tuple[web.StreamResponse, str]:
        try:
            await self._begin(watched, exchange)
        except (asyncio.CancelledError, ConnectionError):
            raise
        except Exception as error:
            exchange.finish()
            self._note(error)
            return await self._refuse(watched, exchange, failure_of(error)), _outcome(error)
        if exchange.reply is not None:
            exchange.finish()
            return self._whole(exchange), "ok"
        return await self._stream(watched, exchange)

    def _note(self, error: Exception) -> None:
        """A bug is logged here: the middleware's answer would come in the middle of this one."""
        if not isinstance(error, BanditdError) or isinstance(error, InvariantError):
            logger.error("request.failed", extra={"route": self.surface}, exc_info=error)

    async def _begin(self, watched: Watched, exchange: Exchange) -> None:
        """Wait for the first content; a stream that has to wait long for it begins with comments."""
        if self.stream:
            watched.begin_early = partial(self._begin_early, watched, exchange)
        await exchange.begin()
        watched.begin_early = None

    async def _begin_early(self, watched: Watched, exchange: Exchange) -> None:
        async with watched.opening:
            if watched.begin_early is None:  # it has begun, or failed, meanwhile
                return
            watched.begin_early = None
            await self._opened(watched, exchange)
        await self._write(watched, self.form.keep_alive)

    async def _stream(self, watched: Watched, exchange: Exchange) -> tuple[web.StreamResponse, str]:
        async with watched.opening:
            response = await self._opened(watched, exchange)
        outcome, write, now_s = "ok", response.write, asyncio.get_running_loop().time
        try:
            async for events in exchange.events():
                if data := self._bytes(exchange, events):
                    watched.last_write_s = now_s()
                    await write(data)
        except (asyncio.CancelledError, ConnectionError):
            raise
        except Exception as error:
            outcome = _outcome(error)
            self._note(error)
            await self._write(watched, self._error_event(exchange, failure_of(error)))
        exchange.finish()
        watched.response = None  # no comments behind the end
        await response.write_eof()
        return response, outcome

    def _bytes(self, exchange: Exchange, events: Sequence[StreamEvent]) -> bytes:
        """What the client gets of one read."""
        if len(events) == 1 and not (self.explain or self.own_ids):
            return events[0].raw if self.show_usage or not events[0].usage_only else b""
        shown = [event.raw for event in events if self.show_usage or not event.usage_only]
        if self.explain:
            for place, raw in enumerate(shown):
                if self.form.is_last(raw):
                    details = details_of(exchange)
                    shown.insert(place, self.form.details_event(details, exchange.response_id, exchange.model))
                    break
        data = b"".join(shown)
        return self._with_id(exchange, data) if self.own_ids else data

    def _error_event(self, exchange: Exchange, failure: Failure) -> bytes:
        event = self.form.error_event(failure, exchange.response_id, exchange.model)
        return self._with_id(exchange, event) if self.own_ids else event

    def _with_id(self, exchange: Exchange, data: bytes) -> bytes:
        given, decision = exchange.response_id, exchange.decision
        if decision is None or given is None or not _PLAIN_ID.fullmatch(given):
            return data
        own = f'"{self.form.id_prefix}{decision.decision_id}"'
        return data.replace(b'"%s"' % given.encode(), own.encode())

    def _whole(self, exchange: Exchange) -> web.Response:
        reply = exchange.reply
        assert reply is not None  # noqa: S101 - asked before
        body = reply.body
        if self.own_ids:
            body = self._with_id(exchange, body)
        if self.explain:
            body = body.rstrip()
            body = body[:-1] + b',"banditd":' + encode(details_of(exchange)) + b"}"
        headers = self._headers(exchange, shown=True)
        headers["Content-Type"] = reply.content_type or JSON_TYPE
        return web.Response(body=body, headers=headers)

    async def _refuse(self, watched: Watched, exchange: Exchange, failure: Failure) -> web.StreamResponse:
        """Nobody has answered: an error with its status, or as an event where the stream has begun."""
        watched.begin_early = None
        async with watched.opening:
            response = watched.response
        if response is None:
            answer = self.form.error_answer(failure)
            answer.headers.extend(self._headers(exchange, shown=False))
            return answer
        await self._write(watched, self._error_event(exchange, failure))
        watched.response = None
        await response.write_eof()
        return response

    async def _opened(self, watched: Watched, exchange: Exchange) -> web.StreamResponse:
        """The stream, begun once: ``watched.opening`` is held."""
        if watched.response is not None:
            return watched.response
        headers = self._headers(exchange, shown=exchange.served is not None)
        headers["Content-Type"] = "text/event-stream; charset=utf-8"
        headers["Cache-Control"] = "no-cache"
        headers["X-Accel-Buffering"] = "no"
        headers["x-request-id"] = logs.request_id.get() or ""
        response = _Stream(headers=headers)
        await response.prepare(watched.request)
        watched.last_write_s = asyncio.get_running_loop().time()
        watched.response = response
        return response

    async def _write(self, watched: Watched, data: bytes) -> None:
        response = watched.response
        assert response is not None  # noqa: S101 - prepared before
        watched.last_write_s = asyncio.get_running_loop().time()
        await response.write(data)

    def _headers(self, exchange: Exchange, *, shown: bool) -> CIMultiDict[str]:
        headers = _headers(exchange, shown=shown)
        url = None if self.link is None or exchange.decision is None else self.link(exchange.decision)
        if url is not None:
            headers["x-banditd-feedback-url"] = url
        return headers


def _stopping() -> BanditdError:
    return UnavailableError("the daemon is stopping; ask again", code="SHUTTING_DOWN")


def _headers(exchange: Exchange, *, shown: bool) -> CIMultiDict[str]:
    """What is told in headers; whose answer it is only where that is known (``shown``)."""
    headers: CIMultiDict[str] = CIMultiDict(exchange.headers if shown else {})
    decision = exchange.decision
    if decision is None:
        return headers
    headers["x-banditd-decision-id"] = decision.decision_id
    headers["x-banditd-policy-version"] = str(decision.snapshot_version)
    headers["x-banditd-propensity"] = repr(float(decision.propensity))
    headers["x-banditd-explored"] = "true" if decision.explored else "false"
    headers["x-banditd-overhead-ms"] = f"{exchange.route_s * 1e3:.3f}"
    headers.extend(_served(exchange, decision) if shown else {})
    return headers


def _served(exchange: Exchange, decision: Decision) -> Mapping[str, str]:
    served = exchange.served
    if served is None:
        return {}
    return {
        "x-banditd-arm": served.arm,
        "x-banditd-model": legible_label(exchange.model or served.upstream_model)[:_MODEL_CHARS],
        "x-banditd-attempts": str(exchange.calls),
        "x-banditd-fallback": "true" if served.arm != decision.arm else "false",
    }


def _outcome(error: Exception) -> str:
    named = getattr(error, "error_class", None)
    if named is not None:
        return str(named)
    return "refused" if isinstance(error, BanditdError) else "failed"


def details_of(exchange: Exchange) -> dict[str, object]:
    """The object ``banditd`` of an answer."""
    details: dict[str, object] = {}
    if exchange.decision is not None:
        details |= decision_answer(exchange.decision, dry_run=False, explain=True)
    served = exchange.served
    details["recipe"] = None if served is None or served.recipe is None else served.recipe.plain()
    details["served_arm"] = None if served is None else served.arm
    details["attempts"] = [attempt._asdict() for attempt in exchange.attempts_now]
    return details
