"""``POST /v1/responses``: the gateway in the form of OpenAI's responses, where an upstream speaks it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from banditd.core.errors import InvalidInputError, NotFoundError
from banditd.core.model_names import ARM, PREFIX
from banditd.core.references import Reference, decision_id_in
from banditd.services.gateway.gateway import ELSEWHERE_WAITS_S, Gateway
from banditd.web.api import Api
from banditd.web.body import read_body
from banditd.web.gateway.options import read_options
from banditd.web.gateway.parsed_request import ParsedRequest, parsed
from banditd.web.gateway.parsed_request_responses import read_responses
from banditd.web.gateway.responses_form import RESPONSES_FORM
from banditd.web.handlers.chat import answered, gateway_call, gateway_of, place
from banditd.web.keys import KEY_NAME


async def create(api: Api, request: web.Request) -> web.StreamResponse:
    """Answer with a response: decide, call, stream through, settle."""
    gateway = gateway_of(api)
    with place(api, request):
        requested = await parsed(read_responses, await read_body(request))
        options = read_options(request, requested.options)
        before = await _before(api, request, gateway, requested)
        if before is not None:
            body = {**requested.body, "previous_response_id": before.response_id}
            requested = requested._replace(body=body)
            if not _names_arm(requested):
                requested = requested._replace(model=before.model)
                options = options.model_copy(update={"policy": None, "profile": None, "candidates": None})
        call = await gateway_call(api, request, gateway, requested, options, "responses")
        return await answered(api, request, gateway, call, requested, options, RESPONSES_FORM)


@dataclass(frozen=True, slots=True)
class _Before:
    """A response that was given here. model : the name of its arm. response_id : as its upstream knows it."""

    model: str
    response_id: str


def _names_arm(requested: ParsedRequest) -> bool:
    return f"/{ARM}" in requested.model


async def _before(api: Api, request: web.Request, gateway: Gateway, requested: ParsedRequest) -> _Before | None:
    """The previous response, which nobody but its arm can go on from; None where there is none.

    A model that names an arm itself is left to it: the response may be known to its upstream, and not to the log.

    Raises InvalidInputError where no decision of this API key has given that response.
    """
    previous = requested.body.get("previous_response_id")
    if not isinstance(previous, str) or not previous:
        return None
    reference = Reference(previous, request.get(KEY_NAME))
    exchange = gateway.answering(reference)
    if exchange is not None and exchange.decision is not None and exchange.holder is not None:
        # It ended a moment ago.
        return _given(previous, exchange.decision.policy, exchange.holder, exchange.response_id)
    if _names_arm(requested) and decision_id_in(previous) is None:
        return None
    try:
        decision = await _stored(api, reference)
    except NotFoundError:
        if _names_arm(requested):
            return None
        raise InvalidInputError(
            f"no response {previous[:128]!r} was given here, so nobody can go on from it: send its items as input, "
            f"or name the arm that has it as model ({PREFIX}{ARM}<arm>)",
            code="PREVIOUS_RESPONSE_NOT_FOUND",
            field="/previous_response_id",
        ) from None
    usage = decision["usage"] or {}
    arm = usage.get("served_arm") or decision["arm"]
    answered = [one for one in decision["attempts"] if one["error"] is None]
    if answered and answered[-1]["recipe"] == arm:  # the part whose answer counts has it
        arm = answered[-1]["arm"]
    return _given(previous, decision["policy"], arm, usage.get("response_id"))


async def _stored(api: Api, reference: Reference) -> Any:
    """The decision under the reference. Raises NotFoundError, for what another API key was given, too."""
    decision_id = await api.services.rewards.decision_of(reference)
    decision: Any = await api.services.reports.decision(decision_id)
    for wait_s in ELSEWHERE_WAITS_S:
        if decision["usage"] is not None:
            break
        await asyncio.sleep(wait_s)
        decision = await api.services.reports.decision(decision_id)
    if decision["key_name"] != reference.key_name:
        raise NotFoundError("another API key was given that response")
    return decision


def _given(previous: str, policy: str, arm: str, response_id: str | None) -> _Before:
    known = response_id if response_id and decision_id_in(previous) is not None else previous
    return _Before(f"{PREFIX}{policy}/{ARM}{arm}", known)
