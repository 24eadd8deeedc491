"""``POST /v1/messages`` and ``/v1/messages/count_tokens``: the gateway in Anthropic's form."""

from __future__ import annotations

from aiohttp import web

from banditd.web.api import Api
from banditd.web.body import read_body
from banditd.web.gateway.messages_form import MESSAGES_FORM
from banditd.web.gateway.options import read_options
from banditd.web.gateway.parsed_request import parsed
from banditd.web.gateway.parsed_request_messages import read_messages
from banditd.web.handlers.chat import answered, gateway_call, gateway_of, place
from banditd.web.json import json_answer


async def create(api: Api, request: web.Request) -> web.StreamResponse:
    """Answer with a message: decide, call, stream through, settle."""
    gateway = gateway_of(api)
    with place(api, request):
        requested = await parsed(read_messages, await read_body(request))
        options = read_options(request, requested.options)
        call = await gateway_call(api, request, gateway, requested, options, "messages")
        return await answered(api, request, gateway, call, requested, options, MESSAGES_FORM)


async def count_tokens(api: Api, request: web.Request) -> web.Response:
    """The tokens of a request for a message. Nothing is recorded or charged."""
    gateway = gateway_of(api)
    with place(api, request):
        requested = await parsed(read_messages, await read_body(request))
        options = read_options(request, requested.options)
        call = await gateway_call(api, request, gateway, requested, options, "messages")
        counted = await gateway.count_tokens(call)
        headers = {"x-banditd-counted-by": counted.arm or "estimate"}
        return json_answer({"input_tokens": counted.input_tokens}, headers=headers)
