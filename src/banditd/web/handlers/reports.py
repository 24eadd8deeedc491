"""``/v1/stats*`` and ``/v1/policies*``: read parameters, ask the report service, answer."""

from __future__ import annotations

import re
from typing import Final

from aiohttp import web

from banditd.core.errors import NotFoundError
from banditd.services.money.corrections import CorrectionInput
from banditd.web.api import Api
from banditd.web.body import check_limit, read_model, read_parameters, time_of
from banditd.web.idempotency import header_key
from banditd.web.json import json_answer
from banditd.web.keys import KEY_NAME
from banditd.web.problems import InvalidFieldsError
from banditd.web.schemas.base import NAME_PATTERN
from banditd.web.schemas.money import CorrectionRequest
from banditd.web.schemas.reports import (
    PolicyParameters,
    SavingsParameters,
    SnapshotParameters,
    StatsParameters,
    TimeseriesParameters,
)

_NAME: Final = re.compile(NAME_PATTERN)


async def stats(api: Api, request: web.Request) -> web.Response:
    requested = read_parameters(request, StatsParameters)
    return json_answer(await api.services.reports.stats(requested.policy, requested.window_s))


async def savings(api: Api, request: web.Request) -> web.Response:
    requested = read_parameters(request, SavingsParameters)
    since_us, until_us = time_of("since", requested.since), time_of("until", requested.until)
    return json_answer(await api.services.reports.savings(requested.policy, since_us, until_us))


async def contexts(api: Api, request: web.Request) -> web.Response:
    requested = read_parameters(request, PolicyParameters)
    return json_answer(await api.services.reports.contexts(requested.policy))


async def timeseries(api: Api, request: web.Request) -> web.Response:
    requested = read_parameters(request, TimeseriesParameters)
    since_us, until_us = time_of("since", requested.since), time_of("until", requested.until)
    return json_answer(await api.services.reports.timeseries(requested.policy, since_us, until_us, requested.step_s))


async def budgets(api: Api, request: web.Request) -> web.Response:
    requested = read_parameters(request, PolicyParameters)
    return json_answer(await api.services.budgets.budgets(requested.policy))


async def correct_budget(api: Api, request: web.Request) -> web.Response:
    """Put dollars on an account, or take them off."""
    name = path_name(request, "budget")
    requested = await read_model(request, CorrectionRequest)
    key = header_key(request)
    if None not in (key, requested.correction_id) and key != requested.correction_id:
        message = "differs from the header Idempotency-Key; give one of them"
        raise InvalidFieldsError(f"correction_id {message}", errors=[("/correction_id", message)])
    corrected = await api.services.corrections.correct(
        CorrectionInput(
            policy=requested.policy,
            budget=name,
            account=requested.account,
            usd=requested.usd,
            reason=requested.reason,
            correction_id=requested.correction_id or key,
            key_name=request.get(KEY_NAME),
        )
    )
    return json_answer(corrected)


async def policies(api: Api, _: web.Request) -> web.Response:
    return json_answer(await api.services.reports.policies())


async def policy_report(api: Api, request: web.Request) -> web.Response:
    return json_answer(await api.services.reports.policy_report(path_name(request, "policy")))


async def snapshots(api: Api, request: web.Request) -> web.Response:
    requested = read_parameters(request, SnapshotParameters)
    check_limit(requested.limit, api.config.max_page)
    policy = path_name(request, "policy")
    return json_answer(await api.services.reports.snapshots(policy, requested.limit))


def path_name(request: web.Request, what: str) -> str:
    """The name in the path. What cannot be a name names nothing, and never reaches the database."""
    given = request.match_info[what]
    if len(given) > 128 or not _NAME.fullmatch(given):
        code = "ARM_UNKNOWN" if what == "arm" else "POLICY_UNKNOWN"
        raise NotFoundError(f"there is no {what} of this name", code=code)
    return given
