"""``POST /v1/embeddings``: one arm, metered, never explored. Vectors of two models in one index are no index."""

from __future__ import annotations

from aiohttp import web

from banditd.core.errors import NotFoundError
from banditd.web.api import Api
from banditd.web.body import read_body
from banditd.web.gateway.forms import CHAT_FORM
from banditd.web.gateway.names import Policies, resolve
from banditd.web.gateway.options import read_options
from banditd.web.gateway.parsed_request import ParsedRequest, parsed
from banditd.web.gateway.parsed_request_responses import read_embeddings
from banditd.web.handlers.chat import answered, gateway_call, gateway_of, place


async def create(api: Api, request: web.Request) -> web.StreamResponse:
    """Embed: call the one arm, pass its answer through, settle."""
    gateway = gateway_of(api)
    with place(api, request):
        requested = await parsed(read_embeddings, await read_body(request))
        requested = requested._replace(model=_the_arm(api, requested, gateway.policies()))
        options = read_options(request, requested.options)
        if options.expected_output_tokens is None:
            options = options.model_copy(update={"expected_output_tokens": 0.0})
        call = await gateway_call(api, request, gateway, requested, options, "embeddings")
        return await answered(api, request, gateway, call, requested, options, CHAT_FORM)


def _the_arm(api: Api, requested: ParsedRequest, policies: Policies) -> str:
    """The name that pins an arm: the request's own where it does, else the configured one.

    Raises NotFoundError where neither does, or the name is unknown.
    """
    settings = api.config.gateway
    named = resolve(requested.model, settings.aliases, policies)
    if named.arm is not None:
        return requested.model
    if settings.embeddings is None:
        raise NotFoundError(
            "embeddings come from one arm and are never explored, for vectors of two models cannot be compared: name "
            "it as model (banditd/arm/<arm>), or in the configuration as gateway.embeddings",
            code="MODEL_NOT_FOUND",
            field="/model",
        )
    return settings.embeddings
