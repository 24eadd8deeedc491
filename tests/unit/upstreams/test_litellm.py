"""What the adapter of LiteLLM hands on, and what its errors become, against a stand-in of the package."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from banditd.core.errors import ConfigurationError
from banditd.ports.upstreams import UpstreamCall, UpstreamError
from banditd.upstreams.config import Clocks, UpstreamConfig
from banditd.upstreams.pool import open_upstreams

CONFIG = UpstreamConfig(name="up", kind="litellm", key="sk-secret", clocks=Clocks(first_token_s=0.2, idle_s=0.2))
QUOTED = (
    'litellm.BadRequestError: AnthropicException - {"type":"error","error":{"type":"invalid_request_error",'
    '"message":"%s"},"request_id":"req_1"}'
)
ASKED = [{"role": "user", "content": "hi"}]


def chunk(delta: dict[str, Any], finish_reason: str | None = None, **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "m", "choices": [choice], **more}


HELLO = [chunk({"role": "assistant", "content": "Hel"}), chunk({"content": "lo"}), chunk({}, "stop")]
USAGE = chunk({}, usage={"prompt_tokens": 3, "completion_tokens": 2})


class Chunks:
    """A stream of the package; an exception among the chunks is raised, None waits for ever."""

    def __init__(self, chunks: list[Any]) -> None:
        self._chunks = iter(chunks)
        self.closed = False

    def __aiter__(self) -> Chunks:
        return self

    async def __anext__(self) -> Any:
        import asyncio

        found = next(self._chunks, StopAsyncIteration())
        if found is None:
            await asyncio.Event().wait()
        if isinstance(found, Exception):
            raise found
        return found

    async def aclose(self) -> None:
        self.closed = True


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> Any:
    """``package.answer`` is what a call gives; ``package.calls`` are the arguments of all."""
    module: Any = ModuleType("litellm")
    module.calls, module.answer = [], None

    async def acompletion(**given: Any) -> Any:
        module.calls.append(given)
        if isinstance(module.answer, Exception):
            raise module.answer
        return module.answer

    module.acompletion = acompletion
    monkeypatch.setitem(sys.modules, "litellm", module)
    return module


@pytest.fixture
async def pool(package: Any) -> AsyncIterator[Any]:
    async with open_upstreams([CONFIG]) as opened:
        yield opened


def call(surface: Any = "chat", params: dict[str, Any] | None = None, **body: Any) -> UpstreamCall:
    body = {"model": "x", "messages": ASKED, "max_tokens": 9, **body}
    return UpstreamCall(upstream="up", surface=surface, model="bedrock/m", body=body, params=params or {})


async def read(pool: Any, given: UpstreamCall) -> bytes:
    stream, raw = await pool.stream(given), b""
    try:
        async for events in stream:
            raw += b"".join(event.raw for event in events)
    finally:
        stream.close()
    return raw


def error(name: str, status: int | None, message: str = "no", headers: dict[str, str] | None = None) -> Exception:
    made: Any = type(name, (Exception,), {})(message)
    if status is not None:
        made.status_code, made.response = status, SimpleNamespace(headers=headers or {})
    return made  # type: ignore[no-any-return]


async def test_a_clients_fields_go_by_a_list_and_the_arms_as_they_are(package: Any, pool: Any) -> None:
    package.answer = {"id": "c", "choices": [{"message": {"content": "Hello"}, "finish_reason": "stop"}]}
    hostile = {"api_base": "http://10.0.0.1", "api_key": "sk-mine", "mock_response": "x", "fallbacks": ["y"]}
    reply = await pool.complete(call(params={"aws_region_name": "eu-west-1"}, temperature=0.5, **hostile))
    assert (json.loads(reply.body)["choices"][0]["message"]["content"], reply.finish_reason) == ("Hello", "stop")
    [given] = package.calls
    assert given.pop("timeout") > 0
    assert given == {
        "model": "bedrock/m", "messages": ASKED, "max_tokens": 9, "temperature": 0.5, "stream": False,
        "aws_region_name": "eu-west-1", "api_key": "sk-secret", "num_retries": 0, "max_retries": 0,
    }  # fmt: skip


@pytest.mark.parametrize("surface", ["chat", "messages"])
async def test_a_stream_has_the_clients_form_and_ends_honestly(package: Any, pool: Any, surface: Any) -> None:
    last = b"data: [DONE]" if surface == "chat" else b"event: message_stop"
    package.answer = Chunks([*HELLO, USAGE])
    raw = await read(pool, call(surface))
    assert raw.split(b"\n\n")[-2].startswith(last)
    assert package.calls[0]["stream_options"] == {"include_usage": True}
    broke = [HELLO[0], error("APIConnectionError", None)]
    for broken, kind in ((HELLO[:2], "server"), ([*HELLO[:2], None], "timeout"), (broke, "transport")):
        package.answer = Chunks(broken)
        with pytest.raises(UpstreamError) as raised:
            await read(pool, call(surface))
        assert raised.value.error_class == kind
    stream = await pool.stream(call(surface))  # nobody reads it
    stream.close()


@pytest.mark.parametrize(
    ("raised", "error_class"),
    [
        (error("RateLimitError", 429, headers={"Retry-After": "7"}), "overload"),
        (error("AuthenticationError", 401), "auth"),
        (error("ContextWindowExceededError", 400), "context"),
        (error("ContentPolicyViolationError", 400), "policy"),
        (error("BadRequestError", 400), "request"),
        (error("BadRequestError", 400, QUOTED % "Your credit balance is too low to access the API"), "auth"),
        (error("BadRequestError", 400, QUOTED % "tool 'get_rate_limit' is not known"), "request"),
        (error("NotFoundError", 404), "server"),
        (error("InternalServerError", 500), "server"),
        (error("Timeout", 408), "timeout"),
        (error("APIConnectionError", 500), "transport"),
        (error("Strange", None), "transport"),
    ],
    ids=lambda one: type(one).__name__,
)
async def test_errors_have_the_classes_of_any_upstreams(
    package: Any, pool: Any, raised: Exception, error_class: str
) -> None:
    wrapped = error("MidStreamFallbackError", 503)
    wrapped.original_exception = raised  # type: ignore[attr-defined]
    for one in (raised, wrapped):
        package.answer = one
        for made in (pool.complete, pool.stream):
            with pytest.raises(UpstreamError) as found:
                await made(call())
            assert found.value.error_class == error_class
            assert found.value.retry_after_s == (7.0 if error_class == "overload" else None)


@pytest.mark.parametrize(
    ("surface", "more", "reason"),
    [
        ("chat", [{"type": "image_url", "image_url": {"url": "http://169.254.169.254/"}}], "image_url"),
        ("chat", [{"type": "image_url", "image_url": "https://inner/"}], "image_url"),
        ("chat", [{"type": "file", "file": {"file_id": "gs://x"}}], "file"),
        ("messages", [{"type": "image", "source": {"type": "url", "url": "http://inner/"}}], "image_url"),
        (
            "chat",
            [{"type": "text", "text": "a", "content": [{"type": "image_url", "image_url": "http://in"}]}],
            "image_url",
        ),
        ("chat", [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}], None),
        ("chat", "just words", None),
    ],
)
async def test_what_the_package_would_fetch_is_not_for_it(
    pool: Any, surface: Any, more: Any, reason: str | None
) -> None:
    body = {"messages": [{"role": "user", "content": more}]}
    expected = {} if reason is None else {"up": f"untranslatable:{reason}"}
    assert pool.unable(surface, body) == expected
    assert pool.unable("chat", {"messages": ASKED, "tools": [{"type": "mcp"}]}) == {"up": "untranslatable:tools"}
    assert pool.unable("responses", {}) == {"up": "surface_unsupported"}


async def test_without_the_package_the_daemon_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "litellm", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'banditd\[litellm\]'"):
        async with open_upstreams([CONFIG]):
            pass
