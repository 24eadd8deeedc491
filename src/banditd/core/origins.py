"""Where a query comes from: the ids of its request, trace and task, the decisions that it comes after. No I/O."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

STEP: Final = "step"
"""The tag that names which step of a task a query is."""

_TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}.*")
_NO_TRACE: Final = "0" * 32


class Origin(NamedTuple):
    """request_id : as the request's answer and the log of the daemon name it. trace_id : 32 hexadecimal digits.

    regenerated_from : the decision whose answer is asked for once more. escalated_from : the one whose answer was not
    enough, so that another is asked. named_session : the client itself says which session it is.
    task_id : what an agent calls the run that the query is a part of. parent_decision_id : of the step that led to
    it.
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
    """The trace's id in a header ``traceparent`` (W3C); None where it holds none."""
    found = None if traceparent is None else _TRACEPARENT.fullmatch(traceparent.strip())
    return found[1] if found is not None and found[1] != _NO_TRACE else None
