"""``POST /v1/chat/completions`` and ``GET /v1/models``: the gateway in OpenAI's form."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager
from functools import partial

import numpy as np
from aiohttp import web

from banditd.core.errors import InvalidInputError, NotFoundError
from banditd.core.long_json import apart
from banditd.core.model_names import AUTO, PREFIX, Named
from banditd.core.types import Query
from banditd.ports.upstreams import Surface
from banditd.services.gateway.call import GatewayCall
from banditd.services.gateway.counting import CHARACTERS_PER_TOKEN
from banditd.services.gateway.gateway import Gateway
from banditd.web.api import Api
from banditd.web.body import read_body
from banditd.web.gateway.forms import CHAT_FORM, Form
from banditd.web.gateway.names import anthropic_entry, anthropic_page, listed, openai_entry, resolve
from banditd.web.gateway.options import read_options
from banditd.web.gateway.parsed_request import ParsedRequest, parsed, read_chat
from banditd.web.gateway.relay import Relay
from banditd.web.gateway.sessions import in_conversation, with_named_task
from banditd.web.handlers.feedback import link_of
from banditd.web.handlers.routing import stated_tags, with_step
from banditd.web.json import json_answer
from banditd.web.keys import KEY_NAME
from banditd.web.legible import legible_label
from banditd.web.origins import origin_of
from banditd.web.outlines import outline_of_body
from banditd.web.schemas.chat import GatewayOptions


async def create(api: Api, request: web.Request) -> web.StreamResponse:
    """Answer a chat: decide, call, stream through, settle."""
    gateway = gateway_of(api)
    with place(api, request):
        requested = await parsed(read_chat, await read_body(request))
        options = read_options(request, requested.options)
        call = await gateway_call(api, request, gateway, requested, options, "chat")
        return await answered(api, request, gateway, call, requested, options, CHAT_FORM)


async def models(api: Api, request: web.Request) -> web.Response:
    """Every name that a request may use. From memory: clients ask at their start and do not wait long.

    A client that sends ``anthropic-version`` gets Anthropic's shape, in pages.
    """
    if "anthropic-version" in request.headers:
        return json_answer(anthropic_page(_names(api), request.query))
    return json_answer({"object": "list", "data": [openai_entry(name) for name in _names(api)]})


async def model(api: Api, request: web.Request) -> web.Response:
    """One name that a request may use, also one that is not listed: with a profile, say. Raises NotFoundError."""
    name = request.match_info["model"]
    resolve(name, api.config.gateway.aliases, gateway_of(api).policies())
    return json_answer(anthropic_entry(name) if "anthropic-version" in request.headers else openai_entry(name))


def _names(api: Api) -> list[str]:
    return list(listed(api.config.gateway.aliases, gateway_of(api).policies()))


def place(api: Api, request: web.Request) -> AbstractContextManager[None]:
    """A place among the requests of this caller. Raises RateLimitedError where none is free."""
    return api.places.taken(request.get(KEY_NAME) or request.remote or "")


async def answered(
    api: Api,
    request: web.Request,
    gateway: Gateway,
    call: GatewayCall,
    requested: ParsedRequest,
    options: GatewayOptions,
    form: Form,
) -> web.StreamResponse:
    """The answer of a call, in the form of its surface."""
    relay = Relay(
        form=form,
        watch=api.watch,
        metrics=api.metrics,
        surface=call.surface,
        stream=requested.stream,
        show_usage=requested.show_usage,
        explain=options.explain,
        own_ids=api.config.gateway.own_ids and call.surface != "embeddings",  # those have none
        link=partial(link_of, api, request) if options.feedback_link else None,
    )
    return await relay.answer(request, gateway.exchange(call))


def gateway_of(api: Api) -> Gateway:
    """The gateway. Raises NotFoundError where it is off."""
    gateway = api.services.gateway
    if gateway is None:
        raise NotFoundError(
            "the gateway is off: name an upstream below 'upstreams' in the configuration, and arms that use it",
            code="GATEWAY_OFF",
        )
    return gateway


async def gateway_call(
    api: Api,
    request: web.Request,
    gateway: Gateway,
    requested: ParsedRequest,
    options: GatewayOptions,
    surface: Surface,
) -> GatewayCall:
    """What the services understand. Raises NotFoundError for an unknown model, InvalidInputError."""
    named = resolve(requested.model, api.config.gateway.aliases, gateway.policies())
    _check_pinned(named, options)
    # However long: the upstream judges that, and what is looked at of a text here is bounded.
    text = await apart(requested.large, _storable, requested.text)
    headers = {name.lower(): legible_label(", ".join(request.headers.getall(name))) for name in request.headers}
    options = with_named_task(options, headers, requested.body)
    query = _query(requested, text, options, named, request.get(KEY_NAME))
    query.origin = origin_of(request, options, trace_as_task=api.config.trace_as_task)
    if surface != "embeddings":  # those are no conversation
        query = await apart(
            requested.large,
            in_conversation,
            query,
            headers,
            requested.body,
            api.services.conversations,
            cache_s=api.config.gateway.prompt_cache_s,
            in_pieces=requested.large,
        )
    return GatewayCall(
        query=query,
        surface=surface,
        body=requested.body,
        stream=requested.stream,
        large=requested.large,
        wanted=requested.wanted,
        headers=headers,
    )


def _check_pinned(named: Named, options: GatewayOptions) -> None:
    if named.arm is None:
        return
    for field in ("policy", "candidates"):
        if getattr(options, field) is not None:
            raise InvalidInputError(
                f"the model names the arm {named.arm} already, so {field} has no say: leave it out, or ask for "
                f"{PREFIX}{AUTO}",
                field=f"/banditd/{field}",
            )


def _storable(text: str | None) -> str | None:
    return None if text is None else text.replace("\0", "\ufffd")


def _query(
    requested: ParsedRequest, text: str | None, options: GatewayOptions, named: Named, key_name: str | None
) -> Query:
    candidates = (named.arm,) if named.arm is not None else options.candidates
    tags = stated_tags(options.tags or {})
    return Query(
        policy=options.policy or named.policy,
        text=text,
        embedding=None if options.embedding is None else np.array(options.embedding, dtype=np.float64),
        turns=requested.turns,
        tools=requested.tools,
        features=options.features or {},
        candidates=None if candidates is None else tuple(candidates),
        excluded_arms=frozenset(options.excluded_arms or ()),
        capabilities=frozenset(options.capabilities or ()),
        max_cost_usd=options.max_cost_usd,
        max_latency_ms=options.max_latency_ms,
        quality_floor=options.quality_floor,
        quality_confidence=options.quality_confidence,
        cost_weight=options.cost_weight,
        keep=options.keep,
        profile=options.profile or named.profile,
        key_name=key_name,
        expected_output_tokens=options.expected_output_tokens,
        session_id=options.session_id or None,
        reference=options.reference or None,
        new_session_arm=options.new_session_arm,
        tags=with_step(tags, options.step, "/banditd/step") if options.step else tags,
        template=partial(outline_of_body, requested.body),
        pinned=named.arm is not None,
        unread_tokens=math.ceil(requested.unread_chars / CHARACTERS_PER_TOKEN),
    )
