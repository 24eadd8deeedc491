"""Which task and step a request of the gateway belongs to, where it says so to others alone."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from banditd.core.origins import STEP
from banditd.core.references import decision_id_in
from banditd.web.gateway.sessions import label, metadata_of
from banditd.web.schemas.base import UUID_PATTERN
from banditd.web.schemas.chat import GatewayOptions

# Headers in which agents name one run of theirs to a gateway or tracer, in the order in which they are believed.
TASK_HEADERS: Final = ("helicone-session-id", "x-portkey-trace-id")
# LangSmith's dotted order: of every run, from the root to the present one, the time of its start and its UUID.
_ROOT_RUN: Final = re.compile(r"[0-9]{8}T[0-9]{6,12}Z([0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})(?:\.|$)")
_UUID: Final = re.compile(UUID_PATTERN)


def with_named_task(options: GatewayOptions, headers: Mapping[str, str], body: Mapping[str, Any]) -> GatewayOptions:
    """The options, completed by ``metadata.banditd_task_id`` and its like, and by what agents tell other gateways.

    headers : names in lower case. What is too long, or no id, tells nothing.
    """
    metadata = metadata_of(body)
    named: dict[str, Any] = {}
    if not options.task_id and (task_id := label(metadata.get("banditd_task_id")) or _task_in(headers)):
        named["task_id"] = task_id
    if options.parent_decision_id is None and (parent := _decision(metadata.get("banditd_parent_decision_id"))):
        named["parent_decision_id"] = parent
    if not options.step and STEP not in (options.tags or ()) and (step := label(metadata.get("banditd_step"))):
        named["step"] = step
    return options.model_copy(update=named) if named else options


def _task_in(headers: Mapping[str, str]) -> str | None:
    for name in TASK_HEADERS:
        if given := label(headers.get(name)):
            return given
    found = _ROOT_RUN.match(headers.get("langsmith-trace", ""))
    return None if found is None else found[1].lower()


def _decision(value: object) -> str | None:
    if not isinstance(value, str):
        return None
    given = decision_id_in(value) or value
    return given if _UUID.fullmatch(given) else None
