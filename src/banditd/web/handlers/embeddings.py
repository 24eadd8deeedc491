"""``POST /v1/embeddings``: one arm, metered, never explored. Vectors of two models in one index are no index."""

from __future__ import annotations

from dataclasses import replace

from aiohttp import web

from banditd.core.errors import NotFoundError
from banditd.web.api import Api
from banditd.web.body import read_body
from banditd.web.gateway.asked import Asked
from banditd.web.gateway.asked_responses import read_embeddings
from banditd.web.gateway.forms import CHAT_FORM
from banditd.web.gateway.names import Policies, resolve
from banditd.web.gateway.options import read_options
from banditd.web.handlers.chat import answered, gateway_call, gateway_of, place


async def create(api: Api, request: web.Request) -> web.StreamResponse:
    """Embed: call the one arm, pass its answer through, settle."""
    gateway = gateway_of(api)
    with place(api, request):
        asked = read_embeddings(await read_body(request), api.config.max_input_chars)
        asked = replace(asked, model=_the_arm(api, asked, gateway.policies()))
        options = read_options(request, asked.options)
        if options.expected_output_tokens is None:
            options = options.model_copy(update={"expected_output_tokens": 0.0})
        call = gateway_call(api, request, gateway, asked, options, "embeddings")
        return await answered(api, request, gateway, call, asked, options, CHAT_FORM)


def _the_arm(api: Api, asked: Asked, policies: Policies) -> str:
    """The name that pins an arm: the request's own where it does, else the configured one.

    Raises NotFoundError where neither does, or the name is unknown.
    """
    settings = api.config.gateway
    named = resolve(asked.model, settings.aliases, policies)
    if named.arm is not None:
        return asked.model
    if settings.embeddings is None:
        raise NotFoundError(
            "embeddings come from one arm and are never explored, for vectors of two models cannot be compared: name "
            "it as model (banditd/arm/<arm>), or in the configuration as gateway.embeddings",
            code="MODEL_NOT_FOUND",
            field="/model",
        )
    return settings.embeddings
