"""``/v1/judges`` and ``/v1/judge-tasks``: how judges stand, and the work of those that clients call."""

from __future__ import annotations

from aiohttp import web

from banditd.core.comparing import ComparisonFilter
from banditd.services.judging.desk import JudgeDesk
from banditd.web.api import Api, there
from banditd.web.body import read_model, read_parameters
from banditd.web.handlers.rewards import path_id
from banditd.web.json import json_answer
from banditd.web.schemas.comparisons import ComparisonParameters, ComparisonRequest
from banditd.web.schemas.judging import JudgeLeaseRequest, JudgeResultRequest


async def get(api: Api, _: web.Request) -> web.Response:
    """Every judge."""
    judges = api.services.judges
    return json_answer({"judges": []} if judges is None else await judges.judges())


async def lease(api: Api, request: web.Request) -> web.Response:
    """Claim tasks."""
    requested = await read_model(request, JudgeLeaseRequest)
    return json_answer(await _judges(api).lease(requested.judge, requested.limit, requested.lease_s))


async def result(api: Api, request: web.Request) -> web.Response:
    """Take a verdict."""
    task_id = path_id(request, "TASK_NOT_FOUND")
    requested = await read_model(request, JudgeResultRequest)
    return json_answer(
        await _judges(api).result(
            task_id, requested.lease, score=requested.score, reason=requested.reason, cost_usd=requested.cost_usd
        )
    )


async def comparisons(api: Api, request: web.Request) -> web.Response:
    """What was compared, newest first."""
    wanted = read_parameters(request, ComparisonParameters)
    which = ComparisonFilter(judge=wanted.judge, policy=wanted.policy, before_id=wanted.before_id, limit=wanted.limit)
    return json_answer(await _judges(api).comparisons.page(which))


async def lease_pairs(api: Api, request: web.Request) -> web.Response:
    """Claim pairs."""
    requested = await read_model(request, JudgeLeaseRequest)
    found = await _judges(api).comparisons.lease(requested.judge, requested.limit, requested.lease_s)
    return json_answer(found)


async def compare(api: Api, request: web.Request) -> web.Response:
    """Take what was said of a pair."""
    requested = await read_model(request, ComparisonRequest)
    return json_answer(
        await _judges(api).comparisons.result(
            requested.task_id, requested.lease, requested.verdicts(), cost_usd=requested.cost_usd
        )
    )


def _judges(api: Api) -> JudgeDesk:
    return there(api.services.judges, "no judge is configured here; see docs/judges.md", "JUDGE_UNKNOWN")
