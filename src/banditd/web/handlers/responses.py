"""``POST /v1/responses``: the gateway in the form of OpenAI's responses, where an upstream speaks it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from aiohttp import web

from banditd.core.errors import InvalidInputError, NotFoundError
from banditd.core.model_names import ARM, PREFIX
from banditd.core.references import Reference
from banditd.services.bundle import Gateway
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
        arm = await _before(api, request, gateway, requested)
        if arm is not None:
            requested = replace(requested, model=arm)
            options = options.model_copy(update={"policy": None, "profile": None, "candidates": None})
        call = await gateway_call(api, request, gateway, requested, options, "responses")
        return await answered(api, request, gateway, call, requested, options, RESPONSES_FORM)


async def _before(api: Api, request: web.Request, gateway: Gateway, requested: ParsedRequest) -> str | None:
    """The name of the arm that gave the previous response, which nobody else can go on from; None without one.

    A model that names an arm itself is left to it: the response may be known to its upstream, and not to the log.

    Raises InvalidInputError where no decision of this API key has given that response.
    """
    previous = requested.body.get("previous_response_id")
    if not isinstance(previous, str) or not previous or f"/{ARM}" in requested.model:
        return None
    exchange = gateway.answering(Reference(previous, request.get(KEY_NAME)))
    if exchange is not None and exchange.decision is not None and exchange.served is not None:
        return f"{PREFIX}{exchange.decision.policy}/{ARM}{exchange.served.arm}"  # it ended a moment ago
    try:
        decision_id = await api.services.rewards.decision_of(Reference(previous, request.get(KEY_NAME)))
        decision: Any = await api.services.reports.decision(decision_id)
    except NotFoundError:
        raise InvalidInputError(
            f"no response {previous[:128]!r} was given here, so nobody can go on from it: send its items as input, "
            f"or name the arm that has it as model ({PREFIX}{ARM}<arm>)",
            code="PREVIOUS_RESPONSE_NOT_FOUND",
            field="/previous_response_id",
        ) from None
    served = (decision["usage"] or {}).get("served_arm") or decision["arm"]
    return f"{PREFIX}{decision['policy']}/{ARM}{served}"
