"""All configured upstreams: opened together, found by name, closed together. A new kind is a line in ``_KINDS``."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Final, Protocol, Self
from urllib.parse import urlsplit

from banditd.core.errors import InvariantError
from banditd.ports.upstreams import Surface, UpstreamCall, UpstreamReply, UpstreamStream
from banditd.upstreams.chat import ChatDialect, EmbeddingsDialect
from banditd.upstreams.config import UpstreamConfig
from banditd.upstreams.dialect import Dialect
from banditd.upstreams.echo import EchoUpstream
from banditd.upstreams.http import HttpUpstream
from banditd.upstreams.litellm import LiteLLMUpstream
from banditd.upstreams.messages import PASSED, VERSION, VERSION_HEADER, CountTokensDialect, MessagesDialect
from banditd.upstreams.responses import ResponsesDialect
from banditd.upstreams.translate.dialects import ChatOverMessages, MessagesOverChat

_NEWER_HOSTS: Final = (".openai.com", ".openai.azure.com")
logger = logging.getLogger(__name__)


class Upstream(Protocol):
    """One upstream of any kind."""

    config: UpstreamConfig

    @property
    def surfaces(self) -> frozenset[Surface]: ...

    def unable(self, surface: Surface, body: Mapping[str, object]) -> str | None: ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *exc: object) -> None: ...

    async def complete(self, call: UpstreamCall) -> UpstreamReply: ...

    async def stream(self, call: UpstreamCall) -> UpstreamStream: ...


def _openai(config: UpstreamConfig) -> Upstream:
    native: dict[Surface, Dialect] = {
        "chat": ChatDialect(), "responses": ResponsesDialect(), "embeddings": EmbeddingsDialect()
    }  # fmt: skip
    spoken = _spoken(native, config)
    if "chat" in spoken:
        # OpenAI's newer models refuse the old name, most other endpoints know no other.
        newer = (urlsplit(config.base_url).hostname or "").endswith(_NEWER_HOSTS)
        spoken["messages"] = MessagesOverChat(max_tokens="max_completion_tokens" if newer else "max_tokens")
    return HttpUpstream(config, spoken)


def _anthropic(config: UpstreamConfig) -> Upstream:
    version = {} if any(name.lower() == VERSION_HEADER for name in config.headers) else {VERSION_HEADER: VERSION}
    config = replace(config, headers={**version, **config.headers}, forward_headers=config.forward_headers | PASSED)
    native: dict[Surface, Dialect] = {"messages": MessagesDialect(), "count_tokens": CountTokensDialect()}
    spoken = _spoken(native, config)
    if "messages" in spoken:
        spoken["chat"] = ChatOverMessages()
    return HttpUpstream(config, spoken)


def _spoken(native: Mapping[Surface, Dialect], config: UpstreamConfig) -> dict[Surface, Dialect]:
    """What the endpoint speaks, of what its kind can."""
    wanted = config.surfaces or native
    return {surface: dialect for surface, dialect in native.items() if surface in wanted}


_KINDS: Final[Mapping[str, Callable[[UpstreamConfig], Upstream]]] = {
    "openai": _openai, "anthropic": _anthropic, "echo": EchoUpstream, "litellm": LiteLLMUpstream,
}  # fmt: skip


class UpstreamPool:
    """``ports.upstreams.Upstreams`` over what is configured."""

    def __init__(self, upstreams: Mapping[str, Upstream]) -> None:
        self._upstreams = upstreams

    def names(self) -> Sequence[str]:
        """Every configured upstream."""
        return tuple(self._upstreams)

    def provider(self, upstream: str, model: str) -> str:
        """Whose form the upstream speaks; of ``litellm`` what stands before the model's name."""
        found = self._upstreams.get(upstream)
        kind = "" if found is None else found.config.kind
        return model.partition("/")[0] if kind == "litellm" else kind

    def unable(self, surface: Surface, body: Mapping[str, object]) -> Mapping[str, str]:
        """The names of those that cannot answer this request, with the reason."""
        reasons = ((name, upstream.unable(surface, body)) for name, upstream in self._upstreams.items())
        return {name: reason for name, reason in reasons if reason is not None}

    async def complete(self, call: UpstreamCall) -> UpstreamReply:
        """The whole answer. Raises UpstreamError."""
        return await (await self._ready(call)).complete(call)

    async def stream(self, call: UpstreamCall) -> UpstreamStream:
        """An answer that has begun. Raises UpstreamError."""
        return await (await self._ready(call)).stream(call)

    async def _ready(self, call: UpstreamCall) -> Upstream:
        """Whom to call, once it may be called: only over HTTP a call can be prepared before."""
        upstream = self._of(call)
        if call.cleared is not None and not isinstance(upstream, HttpUpstream):
            await call.cleared()
        return upstream

    def _of(self, call: UpstreamCall) -> Upstream:
        upstream = self._upstreams.get(call.upstream)
        if upstream is None or call.surface not in upstream.surfaces:
            raise InvariantError(f"no upstream {call.upstream} for {call.surface}: its arms are not eligible")
        return upstream


@asynccontextmanager
async def open_upstreams(configs: Sequence[UpstreamConfig]) -> AsyncIterator[UpstreamPool]:
    """Open a session per upstream. Nothing is called yet."""
    async with AsyncExitStack() as stack:
        opened: dict[str, Upstream] = {}
        for config in configs:
            if config.kind == "echo":
                logger.warning("upstream.echo", extra={"upstream": config.name, "note": "answers with the question"})
            opened[config.name] = await stack.enter_async_context(_KINDS[config.kind](config))
        yield UpstreamPool(opened)
