"""``POST /v1/responses``: the gateway in the form of OpenAI's responses, where an upstream speaks it."""

from __future__ import annotations

from aiohttp import web

from banditd.web.api import Api
from banditd.web.body import read_body
from banditd.web.gateway.asked_responses import read_responses
from banditd.web.gateway.options import read_options
from banditd.web.gateway.responses_form import RESPONSES_FORM
from banditd.web.handlers.chat import answered, gateway_call, gateway_of, place


async def create(api: Api, request: web.Request) -> web.StreamResponse:
    """Answer with a response: decide, call, stream through, settle."""
    gateway = gateway_of(api)
    with place(api, request):
        asked = read_responses(await read_body(request))
        options = read_options(request, asked.options)
        call = gateway_call(api, request, gateway, asked, options, "responses")
        return await answered(api, request, gateway, call, asked, options, RESPONSES_FORM)
