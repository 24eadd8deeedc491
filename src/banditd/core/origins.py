"""Where a query comes from: the ids of its request, trace and task, and the decisions before it. No I/O."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

STEP: Final = "step"
"""The tag that names a query's step within its task."""

_TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}.*")
_NO_TRACE: Final = "0" * 32


class Origin(NamedTuple):
    """Where a query comes from.

    request_id : as given in the response and in the daemon's log.
    trace_id : 32 hexadecimal digits.
    regenerated_from : the decision whose answer the client asks to have again.
    escalated_from : the decision whose answer was not good enough, so that another arm is asked.
    named_session : whether the client itself named the session.
    task_id : an agent's name for the run that this query belongs to.
    parent_decision_id : the decision of the step that led to this one.
    """

    request_id: str | None = None
    trace_id: str | None = None
    regenerated_from: str | None = None
    escalated_from: str | None = None
    named_session: bool = False
    task_id: str | None = None
    parent_decision_id: str | None = None


NO_ORIGIN: Final = Origin()


def trace_id_in(traceparent: str | None) -> str | None:
    """The trace id in a W3C ``traceparent`` header; None if there is none."""
    found = None if traceparent is None else _TRACEPARENT.fullmatch(traceparent.strip())
    return found[1] if found is not None and found[1] != _NO_TRACE else None
