"""``/v1/decisions``: the log, one decision in full, its usage report, its activation."""

from __future__ import annotations

import hashlib
from dataclasses import asdict

from aiohttp import web

from banditd.core.attempts import Attempt, error_class_of
from banditd.core.references import decision_id_in
from banditd.core.rewards import UsageReport
from banditd.ports import DecisionFilter
from banditd.web.api import Api
from banditd.web.body import check_limit, read_model, read_parameters, time_of
from banditd.web.handlers.rewards import path_decision
from banditd.web.idempotency import request_key
from banditd.web.json import encode, json_answer, paced_answer
from banditd.web.problems import InvalidFieldsError
from banditd.web.schemas.reports import DecisionParameters
from banditd.web.schemas.rewards import AttemptRequest, UsageRequest
from banditd.web.security import OWNER


async def page(api: Api, request: web.Request) -> web.Response:
    """A page of the log, newest first."""
    requested = read_parameters(request, DecisionParameters)
    check_limit(requested.limit, api.config.max_page)
    tag = None
    if requested.tag is not None:
        found = await api.services.tags.value_of(requested.policy or "default", requested.tag)
        if found.value is None:
            message = "the log is searched for one value; give it behind the colon"
            raise InvalidFieldsError(f"tag: {message}", errors=[("tag", message)])
        tag = (found.tag, found.value)
    stated = dict(requested) | {"tag": tag}
    for name in ("since", "until"):
        stated[f"{name}_us"] = time_of(name, stated.pop(name))
    filters = DecisionFilter(**stated)
    return await paced_answer(await api.services.reports.decisions(filters))


async def get(api: Api, request: web.Request) -> web.Response:
    """One decision in full."""
    return json_answer(await api.services.reports.decision(await path_decision(api, request)))


async def report_usage(api: Api, request: web.Request) -> web.Response:
    """Report what the decision really cost."""
    decision_id = await path_decision(api, request)
    requested = await read_model(request, UsageRequest)
    key = await request_key(request, "usage", requested, target=decision_id)
    receipt = await api.services.rewards.report_usage(
        _check_others(decision_id, _report(decision_id, requested))._replace(
            request_key=key, owner=request.get(OWNER)
        )
    )
    return json_answer(asdict(receipt))


def _check_others(decision_id: str, report: UsageReport) -> UsageReport:
    """The report again. Raises InvalidFieldsError where a decision is said to have come after itself."""
    for name in ("regenerated_from", "escalated_to"):
        if getattr(report, name) == decision_id:
            message = "names the decision that is reported on: give the id of the other one"
            raise InvalidFieldsError(f"{name}: {message}", errors=[(f"/{name}", message)])
    return report


def _report(decision_id: str, requested: UsageRequest) -> UsageReport:
    stated = dict(requested) | {
        "escalated_to": _who(requested.escalated_to),
        "attempts": tuple(_attempt(one) for one in requested.attempts or ()),
    }
    body_hash = hashlib.sha256(encode(requested.model_dump(exclude_none=True))).hexdigest()
    return UsageReport(decision_id=decision_id, body_hash=body_hash, **stated)


def _who(stated: str | None) -> str | None:
    """A decision's id, also as an answer has it, or a word."""
    return None if stated is None else decision_id_in(stated) or stated


def _attempt(requested: AttemptRequest) -> Attempt:
    error = None if requested.error is None else error_class_of(requested.error)
    return Attempt(**(dict(requested) | {"error": error}))


async def activate(api: Api, request: web.Request) -> web.Response:
    """Activate a deferred decision and release its held rewards."""
    decision_id = await path_decision(api, request)
    key = await request_key(request, "activate", target=decision_id)
    activated, duplicate = await api.services.rewards.activate(decision_id, key, request.get(OWNER))
    return json_answer({"decision_id": decision_id, "activated": activated, "duplicate": duplicate})


async def abandon(api: Api, request: web.Request) -> web.Response:
    """The decision was never served: release its estimate, and learn nothing from it."""
    decision_id = await path_decision(api, request)
    key = await request_key(request, "abandon", target=decision_id)
    abandoned, duplicate = await api.services.rewards.abandon(decision_id, key, request.get(OWNER))
    return json_answer({"decision_id": decision_id, "abandoned": abandoned, "duplicate": duplicate})
