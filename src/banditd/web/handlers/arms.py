"""``/v1/arms``: list, add, read, change, delete."""

from __future__ import annotations

from dataclasses import asdict
from urllib.parse import quote

from aiohttp import web

from banditd.core.errors import ConfigurationError
from banditd.core.recipes import Recipe
from banditd.core.times import iso_time
from banditd.core.types import PLAIN_FIELDS, PRICE_FIELDS, Arm, Price
from banditd.services.arms import ArmView
from banditd.web.api import Api
from banditd.web.body import read_model, read_parameters, time_of
from banditd.web.handlers.reports import path_name
from banditd.web.idempotency import duplicate_header, request_key
from banditd.web.json import json_answer
from banditd.web.problems import InvalidFieldsError
from banditd.web.schemas.arms import ArmPatch, ArmRequest, RecipeRequest
from banditd.web.schemas.base import PolicyParameters


async def page(api: Api, request: web.Request) -> web.Response:
    """Every arm of a policy."""
    policy = read_parameters(request, PolicyParameters).policy
    views = await api.services.arms.list(policy)
    positions = await api.services.arms.positions(policy)
    return json_answer({"policy": policy, "arms": [arm_answer(view) for view in views], "positions": positions})


async def get(api: Api, request: web.Request) -> web.Response:
    """One arm."""
    policy = read_parameters(request, PolicyParameters).policy
    return json_answer(arm_answer(await api.services.arms.get(policy, path_name(request, "arm"))))


async def add(api: Api, request: web.Request) -> web.Response:
    """A new arm; routed to from the next snapshot on."""
    policy = read_parameters(request, PolicyParameters).policy
    requested = await read_model(request, ArmRequest)
    if requested.price.valid_from is not None:
        message = "a new arm's first price holds at once; patch the arm to schedule another"
        raise InvalidFieldsError(message, errors=[("/price/valid_from", message)])
    view = await api.services.arms.add(
        Arm(
            policy=policy,
            arm=requested.arm,
            price=Price(*(getattr(requested.price, field) for field in PRICE_FIELDS)),
            capabilities=frozenset(requested.capabilities),
            recipe=_recipe(requested.arm, requested.recipe),
            **{field: getattr(requested, field) for field in PLAIN_FIELDS}
            | {"upstream_model": requested.upstream_model or requested.arm},
        ),
        await request_key(request, "add_arm", requested),
        anew=not requested.keep_statistics,
    )
    location = f"/v1/arms/{quote(requested.arm, safe='')}?policy={quote(policy, safe='')}"
    headers = {"Location": location, **duplicate_header(duplicate=view.duplicate)}
    return json_answer(arm_answer(view), status=201, headers=headers)


async def patch(api: Api, request: web.Request) -> web.Response:
    """Change the given fields; the others stay."""
    policy = read_parameters(request, PolicyParameters).policy
    name = path_name(request, "arm")
    requested = await read_model(request, ArmPatch)
    given = requested.model_fields_set
    if not given:
        raise InvalidFieldsError("nothing to change", errors=[("", "give at least one field")])
    changes: dict[str, object] = {field: getattr(requested, field) for field in PLAIN_FIELDS if field in given}
    if "capabilities" in given:
        changes["capabilities"] = frozenset(requested.capabilities)
    if "recipe" in given:
        changes["recipe"] = _recipe(name, requested.recipe)
    if "price" in given:
        given_prices = requested.price.model_fields_set
        changes["price"] = {field: getattr(requested.price, field) for field in PRICE_FIELDS if field in given_prices}
    valid_from_us = time_of("/price/valid_from", requested.price.valid_from)
    view = await api.services.arms.patch(
        policy,
        name,
        changes,
        price_from_us=valid_from_us,
        key=await request_key(request, "patch_arm", requested, target=name),
    )
    return json_answer(arm_answer(view), headers=duplicate_header(duplicate=view.duplicate))


async def delete(api: Api, request: web.Request) -> web.Response:
    """Delete an arm; its log and statistics stay."""
    policy = read_parameters(request, PolicyParameters).policy
    name = path_name(request, "arm")
    duplicate = await api.services.arms.delete(policy, name, await request_key(request, "delete_arm", target=name))
    return web.Response(status=204, headers=duplicate_header(duplicate=duplicate))


def arm_answer(view: ArmView) -> dict[str, object]:
    """The JSON of an arm."""
    arm, usage = view.arm, view.usage
    reports = usage.latency_reports
    return {
        "policy": arm.policy,
        "arm": arm.arm,
        **{field: getattr(arm, field) for field in PLAIN_FIELDS},
        "price": asdict(arm.price),
        "capabilities": sorted(arm.capabilities),
        "recipe": None if arm.recipe is None else arm.recipe.plain(),
        "generation": arm.generation,
        "created_at": iso_time(arm.created_at_us),
        "updated_at": iso_time(arm.updated_at_us),
        "usage": {
            "decisions": usage.decisions,
            "usage_reports": usage.usage_reports,
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "cached_input_tokens": usage.cached_input_tokens,
            "cost_usd": usage.cost_usd,
            "mean_latency_ms": usage.latency_ms_sum / reports if reports else None,
            "errors": usage.errors,
        },
        "statistics": dict(view.statistics),
        "price_history": [{"since": iso_time(since_us), **asdict(price)} for since_us, price in view.price_history],
        "onboarding": dict(view.onboarding),
    }


def _recipe(arm: str, requested: RecipeRequest | None) -> Recipe | None:
    """What a request says that an arm is made of. Raises InvalidFieldsError for what cannot be played."""
    if requested is None:
        return None
    try:
        return Recipe(
            arm=arm,
            kind=requested.kind,
            members=tuple(requested.members),
            otherwise=requested.otherwise,
            answers=requested.answers,
        )
    except ConfigurationError as error:
        raise InvalidFieldsError(error.message, errors=[("/recipe", error.message)]) from error
