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
from banditd.web.schemas.base import NAME_PATTERN, PolicyParameters
from banditd.web.schemas.money import CorrectionRequest, SavingsParameters
from banditd.web.schemas.reports import (
    SnapshotParameters,
    StatsParameters,
    TimeseriesParameters,
)
from banditd.web.schemas.tags import ContextPatch, TagParameters

_NAME: Final = re.compile(NAME_PATTERN)
_NUMBER: Final = re.compile(r"[0-9]{1,6}", re.ASCII)


async def stats(api: Api, request: web.Request) -> web.Response:
    requested = read_parameters(request, StatsParameters)
    return json_answer(
        await api.services.tags.stats(requested.policy, requested.window_s, of=requested.tag, by=requested.tag_of_by)
    )


async def savings(api: Api, request: web.Request) -> web.Response:
    requested = read_parameters(request, SavingsParameters)
    since_us, until_us = time_of("since", requested.since), time_of("until", requested.until)
    found = await api.services.tags.savings(
        requested.policy,
        since_us,
        until_us,
        requested.step_s,
        of=requested.tag,
        by=requested.tag_of_by,
        most=requested.limit,
    )
    return json_answer(found)


async def contexts(api: Api, request: web.Request) -> web.Response:
    requested = read_parameters(request, TagParameters)
    return json_answer(await api.services.tags.contexts(requested.policy, of=requested.tag, by=requested.tag_of_by))


async def tags(api: Api, request: web.Request) -> web.Response:
    requested = read_parameters(request, PolicyParameters)
    return json_answer(await api.services.tags.tags(requested.policy))


async def rename_context(api: Api, request: web.Request) -> web.Response:
    """Name a cluster, or remove its name."""
    policy = read_parameters(request, PolicyParameters).policy
    cluster = request.match_info["cluster"]
    if not _NUMBER.fullmatch(cluster):
        raise NotFoundError("there is no cluster of this number", code="CONTEXT_UNKNOWN")
    requested = await read_model(request, ContextPatch)
    return json_answer(await api.services.tags.rename(policy, int(cluster), requested.name))


async def timeseries(api: Api, request: web.Request) -> web.Response:
    requested = read_parameters(request, TimeseriesParameters)
    since_us, until_us = time_of("since", requested.since), time_of("until", requested.until)
    series = await api.services.tags.timeseries(
        requested.policy, since_us, until_us, requested.step_s, of=requested.tag, by=requested.tag_of_by
    )
    return json_answer(series)


async def budgets(api: Api, request: web.Request) -> web.Response:
    requested = read_parameters(request, PolicyParameters)
    return json_answer(await api.services.budgets.budgets(requested.policy))


async def correct_budget(api: Api, request: web.Request) -> web.Response:
    """Add dollars to an account, or take some off."""
    name = path_name(request, "budget")
    requested = await read_model(request, CorrectionRequest)
    key = header_key(request)  # clients send one with every change: an id that was given is the correction's
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
    """The name in the path. An invalid name is unknown, and never reaches the database."""
    given = request.match_info[what]
    if len(given) > 128 or not _NAME.fullmatch(given):
        code = {"arm": "ARM_UNKNOWN", "candidate": "CANDIDATE_NOT_FOUND"}.get(what, "POLICY_UNKNOWN")
        raise NotFoundError(f"there is no {what} of this name", code=code)
    return given
