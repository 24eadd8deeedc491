"""Where a request's query comes from: its ids, and what it says of the decisions before."""

from __future__ import annotations

from typing import Protocol

from aiohttp import web

from banditd.core.origins import Origin, trace_id_in
from banditd.obs import logs
from banditd.web.keys import TRACE_ID


class SaysBefore(Protocol):
    """A query that may name the decisions that it comes after."""

    @property
    def regenerated_from(self) -> str | None: ...

    @property
    def escalated_from(self) -> str | None: ...


def origin_of(request: web.Request, stated: SaysBefore) -> Origin:
    """As the log keeps it. The daemon's own span goes on with the caller's trace, so both have one id."""
    trace_id = request.get(TRACE_ID) or trace_id_in(request.headers.get("traceparent"))
    return Origin(logs.request_id.get(), trace_id, stated.regenerated_from, stated.escalated_from)
