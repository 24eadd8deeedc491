"""``/v1/policies/{policy}/candidates`` and ``/v1/evaluations``: create candidates, and evaluate them from the log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from aiohttp import web

from banditd.core.evaluation import ScoredCase
from banditd.core.times import iso_time
from banditd.services.candidates.evaluating import EvaluationService
from banditd.services.candidates.service import CandidateService
from banditd.web.api import Api, there
from banditd.web.body import check_limit, read_body, read_model, read_parameters, read_with_items, time_of
from banditd.web.handlers.reports import path_name
from banditd.web.handlers.rewards import path_id
from banditd.web.json import json_answer
from banditd.web.keys import KEY_NAME
from banditd.web.schemas.candidates import (
    CandidatePatch,
    CandidateRequest,
    CaseRequest,
    EvaluationParameters,
    EvaluationRequest,
)


async def create(api: Api, request: web.Request) -> web.Response:
    """A new candidate; 200 if the same one exists already."""
    policy = path_name(request, "policy")
    requested = await read_model(request, CandidateRequest)
    arms: dict[str, Mapping[str, object]] = {arm: dict(fields) for arm, fields in requested.arms.items()}
    made, is_new = await _candidates(api).create(
        policy, requested.name, settings=requested.settings, arms=arms, key_name=request.get(KEY_NAME)
    )
    place = f"/v1/policies/{quote(policy, safe='')}/candidates/{quote(requested.name, safe='')}"
    return json_answer(candidate_answer(made), status=201 if is_new else 200, headers={"Location": place})


async def page(api: Api, request: web.Request) -> web.Response:
    """Every candidate of a policy."""
    found: Any = await _candidates(api).list(path_name(request, "policy"))
    return json_answer({**found, "candidates": [candidate_answer(one) for one in found["candidates"]]})


async def get(api: Api, request: web.Request) -> web.Response:
    """One candidate."""
    found = await _candidates(api).get(path_name(request, "policy"), path_name(request, "candidate"))
    return json_answer(candidate_answer(found))


async def patch(api: Api, request: web.Request) -> web.Response:
    """Start or stop a shadow."""
    policy, name = path_name(request, "policy"), path_name(request, "candidate")
    requested = await read_model(request, CandidatePatch)
    return json_answer(candidate_answer(await _candidates(api).shadow(policy, name, running=requested.shadow)))


async def delete(api: Api, request: web.Request) -> web.Response:
    """Delete one; its evaluations stay."""
    await _candidates(api).delete(path_name(request, "policy"), path_name(request, "candidate"))
    return web.Response(status=204)


async def evaluate(api: Api, request: web.Request) -> web.Response:
    """Start an evaluation."""
    body = await read_body(request)
    requested = await read_with_items(body, EvaluationRequest, "cases", CaseRequest)
    cases = None
    if requested.cases is not None:
        cases = [ScoredCase(text=one.input, scores=one.scores, tags=one.tags) for one in requested.cases]
    found = await _evaluations(api).ask(
        requested.policy,
        requested.candidate,
        against=requested.against,
        since_us=time_of("/since", requested.since),
        until_us=time_of("/until", requested.until),
        margin=requested.margin,
        interval=requested.interval,
        method=requested.method,
        cases=cases,
        key_name=request.get(KEY_NAME),
    )
    place = f"/v1/evaluations/{found['evaluation_id']}"
    return json_answer(evaluation_answer(found), status=202, headers={"Location": place})


async def evaluations(api: Api, request: web.Request) -> web.Response:
    """The newest evaluations."""
    requested = read_parameters(request, EvaluationParameters)
    check_limit(requested.limit, api.config.max_page)
    found: Any = await _evaluations(api).list(requested.policy, requested.candidate, requested.limit)
    return json_answer({"evaluations": [evaluation_answer(one) for one in found["evaluations"]]})


async def evaluation(api: Api, request: web.Request) -> web.Response:
    """One evaluation."""
    return json_answer(evaluation_answer(await _evaluations(api).get(path_id(request, "EVALUATION_NOT_FOUND"))))


def evaluation_answer(found: Mapping[str, Any]) -> dict[str, object]:
    """The same with times as clients get them."""
    return _timed(found, ("created_at", "finished_at", "since", "until"))


def candidate_answer(found: Mapping[str, Any]) -> dict[str, object]:
    """The same with times as clients get them."""
    shown, shadow = _timed(found, ("created_at",)), found["shadow"]
    if shadow is not None:
        shown["shadow"] = _timed(shadow, ("started_at", "stopped_at", "since", "until"))
    return shown


def _timed(found: Mapping[str, Any], names: Sequence[str]) -> dict[str, object]:
    shown = dict(found)
    for name in names:
        at_us = shown.pop(f"{name}_us")
        shown[name] = None if at_us is None else iso_time(at_us)
    return shown


def _candidates(api: Api) -> CandidateService:
    return there(api.services.candidates, "this daemon keeps no candidates", "CANDIDATE_NOT_FOUND")


def _evaluations(api: Api) -> EvaluationService:
    return there(api.services.evaluations, "this daemon evaluates nothing", "EVALUATION_NOT_FOUND")
