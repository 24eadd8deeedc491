"""Providers without a compatible endpoint, by the LiteLLM package: the optional extra ``banditd[litellm]``.

It is imported when the daemon opens, and only where an upstream is of this kind: that takes seconds and 200 MB. What
it gives is written as the events of a chat, and read by the same readers as any other upstream's.

LiteLLM takes settings of its own as fields of a request (``api_base``, credentials, mocks), and fetches pictures from
URLs. So a client's fields go by a list, and its pictures must be in the request.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, Self

from banditd.core.errors import ConfigurationError
from banditd.ports.upstreams import StreamEvent, Surface, UpstreamCall, UpstreamError, UpstreamReply
from banditd.upstreams.chat import DONE, ChatDialect, encode
from banditd.upstreams.config import Clocks, UpstreamConfig
from banditd.upstreams.dialect import Dialect, ErrorEventError, MalformedEventError, StreamReader
from banditd.upstreams.errors import from_answer, from_event
from banditd.upstreams.sse import event, parse_frame
from banditd.upstreams.translate.dialects import MessagesOverChat

VERSION: Final = "1.110.2"
"""The release that the extra pins: newer ones are taken on when they have been tried."""
_FIELDS: Final = frozenset(
    {
        "messages", "temperature", "top_p", "n", "stop", "max_tokens", "max_completion_tokens", "presence_penalty",
        "frequency_penalty", "logit_bias", "user", "response_format", "seed", "tools", "tool_choice",
        "parallel_tool_calls", "logprobs", "top_logprobs", "functions", "function_call", "modalities", "audio",
        "prediction", "reasoning_effort", "verbosity", "service_tier", "stream", "stream_options",
    }
)  # fmt: skip
_GOODBYE_S: Final = 5.0
# A tuple: what stands in the place of a type may be of any kind, and only in a tuple can everything be looked for.
_PARTS: Final = (
    "text", "refusal", "image_url", "input_audio",
    "image", "tool_use", "tool_result", "thinking", "redacted_thinking",  # of messages, translated before
)  # fmt: skip


class LiteLLMUpstream:
    """Calls ``litellm.acompletion``. Opened and closed by ``upstreams/pool.py``."""

    def __init__(self, config: UpstreamConfig) -> None:
        self.config = config
        self._dialects: Mapping[Surface, Dialect] = {"chat": ChatDialect(), "messages": MessagesOverChat()}
        self._library: Any = None
        self._in_flight = 0
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def surfaces(self) -> frozenset[Surface]:
        """Where it can answer."""
        return frozenset(self._dialects)

    def unable(self, surface: Surface, body: Mapping[str, object]) -> str | None:
        """Why it cannot answer this request; None where it can."""
        dialect = self._dialects.get(surface)
        if dialect is None:
            return "surface_unsupported"
        what = dialect.uncarried(body) or _foreign(body)
        return None if what is None else f"untranslatable:{what}"

    async def __aenter__(self) -> Self:
        self._library = await asyncio.to_thread(load)
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._closing:
            await asyncio.wait(self._closing, timeout=1.0)

    async def complete(self, call: UpstreamCall) -> UpstreamReply:
        """The whole answer. Raises UpstreamError."""
        dialect, limit_s = self._dialects[call.surface], min(self.config.clocks.answer_s, call.deadline_s)
        self._enter()
        try:
            async with asyncio.timeout(limit_s):
                answer = await self._library.acompletion(**self._arguments(call, dialect, stream=False))
            read = dialect.read(_json(answer), call)
        except Exception as error:
            raise self.failure(error, "timeout_headers") from None
        finally:
            self.leave()
        return read.reply(status=200, headers={}, content_type="application/json")

    async def stream(self, call: UpstreamCall) -> LiteLLMStream:
        """An answer that has begun. Raises UpstreamError."""
        clocks, dialect = self.config.clocks, self._dialects[call.surface]
        began_s = asyncio.get_running_loop().time()
        total_s = min(clocks.total_s, call.deadline_s)
        first_s = call.first_token_s or clocks.first_token_s
        self._enter()
        try:
            async with asyncio.timeout(min(max(clocks.headers_s, call.first_token_s or 0.0), total_s)):
                chunks = await self._library.acompletion(**self._arguments(call, dialect, stream=True))
        except BaseException as error:
            self.leave()
            if isinstance(error, Exception):
                raise self.failure(error, "timeout_headers") from None
            raise
        limits = _Limits(began_s + first_s, clocks, began_s + total_s)
        return LiteLLMStream(self, chunks, dialect.reader(call), limits)

    def failure(self, error: Exception, late: str) -> UpstreamError:
        """The same error as one of ours. ``late`` : the code where our own clock has run out."""
        name, secret = self.config.name, self.config.key
        if isinstance(error, UpstreamError):
            return error
        if isinstance(error, ErrorEventError):
            return from_event(name, error.error, secret=secret)
        if isinstance(error, MalformedEventError):
            text = f"the upstream {name} sent an answer that cannot be read"
            return UpstreamError(text, error_class="server", code=str(error))
        if isinstance(error, TimeoutError):
            text = f"the upstream {name} was silent for too long ({late})"
            return UpstreamError(text, error_class="timeout", code=late)
        return _failure(name, error, secret)

    def hang_up(self, chunks: Any) -> None:
        """Close a stream that is not read any more."""
        task = asyncio.get_running_loop().create_task(_close(chunks))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _arguments(self, call: UpstreamCall, dialect: Dialect, *, stream: bool) -> dict[str, Any]:
        """What ``acompletion`` is given: the client's fields by the list, the arm's as they are."""
        stated: dict[str, Any] = json.loads(dialect.write(call, stream=stream))
        known = _FIELDS | call.params.keys() | set(call.rename_params.values())
        given = {name: value for name, value in stated.items() if name in known}
        given |= {"model": call.model, "stream": stream, "num_retries": 0, "max_retries": 0}
        given["timeout"] = min(self.config.clocks.total_s, call.deadline_s)
        if self.config.key is not None:
            given["api_key"] = self.config.key
        if self.config.base_url:
            given["api_base"] = self.config.base_url
        if self.config.headers:
            given["extra_headers"] = dict(self.config.headers)
        return given

    def _enter(self) -> None:
        if self._in_flight >= self.config.max_concurrent:
            text = f"{self._in_flight} calls of the upstream {self.config.name} are running already"
            raise UpstreamError(text, error_class="overload", code="max_concurrent", local=True)
        self._in_flight += 1

    def leave(self) -> None:
        """A call is over."""
        self._in_flight -= 1


@dataclass(slots=True)
class _Limits:
    first_token_at_s: float | None
    clocks: Clocks
    total_at_s: float

    def next(self, now_s: float) -> tuple[float, str]:
        """(until when to wait for the next chunk, the code where it does not come)."""
        if self.first_token_at_s is not None:
            waiting = (self.first_token_at_s, "timeout_first_token")
        else:
            waiting = (now_s + self.clocks.idle_s, "timeout_idle")
        return min(waiting, (self.total_at_s, "timeout_total"))


@dataclass(slots=True)
class LiteLLMStream:
    """``ports.upstreams.UpstreamStream`` over LiteLLM's chunks."""

    upstream: LiteLLMUpstream
    chunks: Any
    reader: StreamReader
    limits: _Limits
    headers: Mapping[str, str] = field(default_factory=dict)
    _over: bool = False
    _closed: bool = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Sequence[StreamEvent]:
        if self._over:
            self.close()
            raise StopAsyncIteration
        loop = asyncio.get_running_loop()
        until_s, late = self.limits.next(loop.time())
        if self.reader.finished:  # nothing is missing but its usage
            until_s = min(until_s, loop.time() + _GOODBYE_S)
        try:
            async with asyncio.timeout_at(until_s):
                chunk = await anext(self.chunks, None)
            if chunk is None:
                return self._end()
            found = self.reader.read(parse_frame(event(_json(chunk))))
        except Exception as error:
            if self.reader.finished:
                return self._end()
            self.close()
            raise self.upstream.failure(error, late) from None
        if found.content or found.finish_reason is not None:
            self.limits.first_token_at_s = None
        return [found]

    def close(self) -> None:
        """Hang up at once."""
        if not self._closed:
            self._closed = True
            self.upstream.leave()
            if not self._over:
                self.upstream.hang_up(self.chunks)

    def _end(self) -> Sequence[StreamEvent]:
        """The library says nothing more: a goodbye in our own words, where the answer is whole."""
        if not self.reader.finished:
            text = f"the upstream {self.upstream.config.name} ended its stream before the answer was whole"
            raise UpstreamError(text, error_class="server", code="ended_early")
        self._over = True
        return [self.reader.read(parse_frame(event(DONE))), *self.reader.rest()]


def load() -> Any:
    """The package, told to stay at home. Raises ConfigurationError where it is not installed."""
    # Else it fetches a list of prices, reads .env files, and prints advice.
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    os.environ.setdefault("LITELLM_MODE", "PRODUCTION")
    try:
        library = importlib.import_module("litellm")
    except ImportError as error:
        raise ConfigurationError(
            f"an upstream of kind litellm needs the package litellm {VERSION}: pip install 'banditd[litellm]' "
            f"({error})"
        ) from error
    library.telemetry = False  # type: ignore[attr-defined]
    library.suppress_debug_info = True  # type: ignore[attr-defined]
    library.turn_off_message_logging = True  # type: ignore[attr-defined]
    for name in ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what it logs may quote prompts and keys
    return library


def _foreign(body: Mapping[str, object]) -> str | None:
    """What of a request the library would fetch, or hand to somebody else than the provider."""
    tools = body.get("tools")
    for tool in tools if isinstance(tools, list) else ():
        if not isinstance(tool, dict) or tool.get("type", "custom") not in ("function", "custom"):
            return "tools"
    messages = body.get("messages")
    return _foreign_parts(messages if isinstance(messages, list) else [])


def _foreign_parts(holders: Sequence[object]) -> str | None:
    """The first such part in the contents of messages, and of results of tools."""
    for holder in holders:
        parts = holder.get("content") if isinstance(holder, dict) else None
        if isinstance(parts, list):
            found = next(filter(None, map(_foreign_part, parts)), None) or _foreign_parts(parts)
            if found is not None:
                return found
    return None


def _foreign_part(part: object) -> str | None:
    if not isinstance(part, dict):
        return None
    kind = part.get("type")
    source = part.get("image_url") if kind == "image_url" else part.get("source")  # of a chat, or of a message
    url = source.get("url") if isinstance(source, dict) else source
    if isinstance(url, str) and not url.startswith("data:"):
        return "image_url"
    return None if kind in _PARTS else str(kind)[:40]


def _json(answer: Any) -> bytes:
    stated = answer if isinstance(answer, dict) else answer.model_dump(mode="json", exclude_none=True)
    return encode(stated)


def _failure(name: str, error: Exception, secret: str | None) -> UpstreamError:
    """One of the library's errors, told apart by the names of its classes, its status and its words."""
    original = getattr(error, "original_exception", None)
    if isinstance(original, Exception) and original is not error:
        return _failure(name, original, secret)
    names = {one.__name__ for one in type(error).__mro__}
    if names & {"Timeout", "APITimeoutError"}:
        text = f"the upstream {name} did not answer in time"
        return UpstreamError(text, error_class="timeout", code="timeout_headers")
    response = getattr(error, "response", None)
    if names & {"APIConnectionError"} or (response is None and not hasattr(error, "status_code")):
        text = f"the connection to the upstream {name} failed"
        return UpstreamError(text, error_class="transport", code="connect")
    code = next((one for kind, one in _CODES.items() if kind in names), None)
    message = str(getattr(error, "message", "") or error)
    stated = {"code": getattr(error, "code", None), "message": message, **_quoted_in(message)}
    stated |= {"code": code} if code is not None else {}
    status = getattr(error, "status_code", None)
    headers = {str(key).lower(): str(value) for key, value in dict(getattr(response, "headers", None) or {}).items()}
    return from_answer(
        name,
        status if isinstance(status, int) and 400 <= status < 600 else 500,
        headers,
        json.dumps({"error": stated}).encode(),
        now_s=time.time(),
        secret=secret,
    )


def _quoted_in(message: str) -> Mapping[str, object]:
    """The provider's own error, which the library quotes whole; empty where there is none."""
    try:
        stated = json.loads(message[message.find("{") : message.rfind("}") + 1])
    except (ValueError, RecursionError):
        return {}
    inner = stated.get("error", stated) if isinstance(stated, dict) else None
    return inner if isinstance(inner, dict) and inner.get("message") else {}


_CODES: Final = {
    "ContextWindowExceededError": "context_length_exceeded", "ContentPolicyViolationError": "content_filter",
    "AuthenticationError": "invalid_api_key", "RateLimitError": "rate_limit_exceeded",
}  # fmt: skip


async def _close(chunks: Any) -> None:
    """Whatever comes of it: nobody reads this stream any more."""
    close = getattr(chunks, "aclose", None) or getattr(getattr(chunks, "completion_stream", None), "aclose", None)
    if close is not None:
        with suppress(Exception):
            await close()
