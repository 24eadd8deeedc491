"""Where a request's query comes from: its ids, and what it says of the decisions before."""

from __future__ import annotations

from aiohttp import web

from banditd.core.origins import Origin, trace_id_in
from banditd.obs import logs
from banditd.web.keys import TRACE_ID
from banditd.web.schemas.routing import QueryOptions


def origin_of(request: web.Request, stated: QueryOptions, *, trace_as_task: bool) -> Origin:
    """As the log keeps it. The daemon's own span goes on with the caller's trace, so both have one id.

    trace_as_task : the caller's trace, never a span of the daemon's own, is the task of what names none.
    """
    trace_id = request.get(TRACE_ID) or trace_id_in(request.headers.get("traceparent"))
    task_id = stated.task_id or None
    if trace_as_task and task_id is None:
        task_id = trace_id_in(request.headers.get("traceparent"))
    return Origin(
        request_id=logs.request_id.get(),
        trace_id=trace_id,
        regenerated_from=stated.regenerated_from,
        escalated_from=stated.escalated_from,
        task_id=task_id,
        parent_decision_id=stated.parent_decision_id,
    )
