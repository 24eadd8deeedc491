"""Calls of a real upstream that fails in every way: each ends whole or in an error of its class; nothing leaks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from bench.faulty.app import Faulty
from bench.faulty.faults import FAULTS
from bench.faulty.shapes import TEXT
from tests.gateway.conftest import CLOCKS

from banditd.ports.upstreams import StreamEvent, TokenUsage, UpstreamCall, UpstreamError
from banditd.upstreams.config import Clocks, UpstreamConfig
from banditd.upstreams.pool import UpstreamPool, open_upstreams

KEY = "sk-test-0123456789abcdef"
PATIENT = Clocks()

# name -> (class, code) of a stream; of a whole answer where that is another.
TIMES = {"silent": "timeout_headers", "headers-silent": "timeout_first_token", "role-silent": "timeout_first_token",
         "stall": "timeout_idle", "stall-comments": "timeout_first_token"}  # fmt: skip
STREAMS: dict[str, tuple[str, str]] = {
    **{name: ("timeout", code) for name, code in TIMES.items()},
    "reset": ("transport", "disconnected"),
    "eof-start": ("server", "ended_early"),
    "eof-role": ("server", "ended_early"),
    "eof": ("server", "ended_early"),
    "done-early": ("server", "no_finish_reason"),
    "finish-error": ("server", "finish_reason_error"),
    "cut-start": ("transport", "cut"),
    "cut": ("transport", "cut"),
    "malformed-start": ("server", "malformed_event"),
    "malformed": ("server", "malformed_event"),
    "half-event": ("server", "malformed_event"),
    "bad-utf8": ("server", "malformed_event"),
    "huge-event": ("server", "event_too_large"),
    "error-first": ("server", "server_error"),
    "error-role": ("server", "server_error"),
    "error-second": ("server", "server_error"),
    "error-rate": ("overload", "rate_limit_exceeded"),
    "error-quota": ("auth", "insufficient_quota"),
    "error-context": ("context", "context_length_exceeded"),
    "400": ("request", "invalid_value"),
    "400-context": ("context", "context_length_exceeded"),
    "400-context-llama": ("context", "400"),
    "400-policy": ("policy", "content_filter"),
    "400-quota": ("auth", "insufficient_quota"),
    "422-unknown": ("request", "invalid_request_error"),
    "401": ("auth", "invalid_api_key"),
    "402": ("auth", "insufficient_quota"),
    "403": ("auth", "invalid_api_key"),
    "404": ("server", "model_not_found"),
    "429": ("overload", "rate_limit_exceeded"),
    "429-after": ("overload", "rate_limit_exceeded"),
    "429-after-ms": ("overload", "rate_limit_exceeded"),
    "429-date": ("overload", "rate_limit_exceeded"),
    "429-quota": ("auth", "insufficient_quota"),
    "500": ("server", "server_error"),
    "502": ("server", "http_502"),
    "503": ("overload", "server_error"),
    "529": ("overload", "server_error"),
    "redirect": ("server", "http_307"),
    "html": ("server", "malformed_event"),
    "json-error": ("server", "server_error"),
}
HEALTHY = [name for name, fault in FAULTS.items() if fault.ending == "answer"]


def _call(model: str, *, stream: bool = True, **more: Any) -> UpstreamCall:
    body = {"model": "banditd/auto", "messages": [{"role": "user", "content": "hi"}], "stream": stream}
    return UpstreamCall(
        upstream="up", surface="chat", model=model, body=body | more.pop("body", {}), **{"deadline_s": 30.0} | more
    )


@asynccontextmanager
async def _pool(faulty: Faulty, clocks: Clocks = PATIENT, **more: Any) -> AsyncIterator[UpstreamPool]:
    config = UpstreamConfig(name="up", kind="openai", base_url=faulty.url, key=KEY, clocks=clocks, **more)
    async with open_upstreams([config]) as pool:
        yield pool


async def _read(pool: UpstreamPool, call: UpstreamCall) -> list[StreamEvent]:
    stream = await pool.stream(call)
    try:
        return [event async for events in stream for event in events]
    finally:
        stream.close()


async def _closed(faulty: Faulty) -> None:
    while faulty.open:  # noqa: ASYNC110 - the other side of a connection
        await asyncio.sleep(0.01)


def test_every_fault_is_named_here() -> None:
    assert set(STREAMS) == {name for name, fault in FAULTS.items() if fault.ending == "error"}


@pytest.mark.parametrize("model", HEALTHY)
async def test_a_healthy_stream_comes_byte_for_byte(faulty: Faulty, model: str) -> None:
    async with _pool(faulty) as pool:
        events = await _read(pool, _call(model))
        assert b"".join(event.raw for event in events) == bytes(faulty.calls[0].sent)
        assert any(event.finish_reason for event in events)
        usage = [event.usage for event in events if event.usage is not None]
        assert usage == ([] if model in {"ok-no-usage", "ok-no-done"} else [TokenUsage(11, 5, 3)])
    await _closed(faulty)


@pytest.mark.parametrize("model", [name for name in HEALTHY if name != "ok-large"])
async def test_a_healthy_answer_comes_byte_for_byte(faulty: Faulty, model: str) -> None:
    async with _pool(faulty) as pool:
        reply = await pool.complete(_call(model, stream=False))
    assert reply.body == bytes(faulty.calls[0].sent)
    assert TEXT in reply.body.decode()
    assert (reply.finish_reason, reply.usage) == ("stop", TokenUsage(11, 5, 3))


@pytest.mark.parametrize("model", STREAMS)
async def test_a_stream_that_fails_says_so_in_its_class(faulty: Faulty, model: str) -> None:
    async with _pool(faulty, Clocks(**CLOCKS.get(model, {}))) as pool:
        with pytest.raises(UpstreamError) as raised:
            await _read(pool, _call(model))
        await _closed(faulty)
    assert (raised.value.error_class, raised.value.code) == STREAMS[model]
    assert raised.value.message


@pytest.mark.parametrize("model", STREAMS)
async def test_an_answer_that_fails_says_so_in_its_class(faulty: Faulty, model: str) -> None:
    async with _pool(faulty, Clocks(**CLOCKS.get(model, {}))) as pool:
        with pytest.raises(UpstreamError) as raised:
            await pool.complete(_call(model, stream=False))
        await _closed(faulty)
    expected = "timeout" if model == "huge-event" else STREAMS[model][0]  # half an answer, and then nothing
    expected = {"malformed-start": "server"}.get(model, expected)
    assert raised.value.error_class == expected


async def test_what_came_before_a_failure_is_given_before_it(faulty: Faulty) -> None:
    got = b""

    async def read() -> None:
        nonlocal got
        async for events in await pool.stream(_call("error-second")):
            got += b"".join(event.raw for event in events)

    async with _pool(faulty) as pool:
        with pytest.raises(UpstreamError):
            await read()
    assert b'"Hel"' in got
    assert b'"lo "' in got
    assert b'"error"' not in got


@pytest.mark.parametrize(
    ("model", "least", "most"),
    [("429", None, None), ("429-after", 2.0, 2.0), ("429-after-ms", 0.1, 0.1), ("429-date", 25.0, 30.0)],
)
async def test_how_long_an_upstream_wants_to_be_left_alone(
    faulty: Faulty, model: str, least: float | None, most: float | None
) -> None:
    async with _pool(faulty) as pool:
        with pytest.raises(UpstreamError) as raised:
            await pool.complete(_call(model, stream=False))
    told = raised.value.retry_after_s
    assert told is least if least is None or most is None or told is None else least <= told <= most


async def test_nobody_listens(faulty: Faulty) -> None:
    config = UpstreamConfig(name="up", kind="openai", base_url="http://127.0.0.1:9/v1", key=KEY)
    async with open_upstreams([config]) as pool:
        with pytest.raises(UpstreamError) as raised:
            await pool.complete(_call("ok", stream=False))
    assert (raised.value.error_class, raised.value.code) == ("transport", "connect")


async def test_the_deadline_of_the_request_ends_a_call(faulty: Faulty) -> None:
    async with _pool(faulty) as pool:
        with pytest.raises(UpstreamError) as stream:
            await _read(pool, _call("ok-slow", deadline_s=0.3))
        with pytest.raises(UpstreamError) as whole:
            await pool.complete(_call("silent", stream=False, deadline_s=0.3))
        await _closed(faulty)
    for raised in (stream, whole):
        assert (raised.value.error_class, raised.value.code) == ("timeout", "timeout_total")


async def test_an_arm_may_need_longer_to_its_first_token(faulty: Faulty) -> None:
    async with _pool(faulty, Clocks(headers_s=0.4, first_token_s=0.4)) as pool:
        with pytest.raises(UpstreamError):
            await _read(pool, _call("ok-late"))
        assert await _read(pool, _call("ok-late", first_token_s=60.0))


async def test_a_client_that_reads_slowly_is_not_taken_for_a_silent_upstream(faulty: Faulty) -> None:
    async with _pool(faulty, Clocks(idle_s=1.5)) as pool:
        stream = await pool.stream(_call("ok-slow"))
        async for events in stream:
            if any(event.content for event in events):
                await asyncio.sleep(1.7)  # longer than idle_s
                break
        assert [events async for events in stream]


@pytest.mark.parametrize("model", ["ok-slow", "endless", "flood", "stall"])
async def test_hanging_up_reaches_the_upstream(faulty: Faulty, model: str) -> None:
    async with _pool(faulty) as pool:
        stream = await pool.stream(_call(model))
        await anext(aiter(stream))
        stream.close()
        await _closed(faulty)
        assert faulty.calls[0].ending == "hung_up"


@pytest.mark.parametrize("model", ["silent", "stall", "ok-late"])
@pytest.mark.parametrize("stream", [True, False])
async def test_giving_up_while_waiting_reaches_the_upstream(faulty: Faulty, model: str, stream: bool) -> None:
    async with _pool(faulty) as pool:
        work = _read(pool, _call(model)) if stream else pool.complete(_call(model, stream=False))
        task = asyncio.ensure_future(work)
        while not faulty.calls:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await _closed(faulty)
        assert faulty.calls[0].ending == "hung_up"


async def test_calls_at_once_are_bounded_and_places_are_given_back(faulty: Faulty) -> None:
    async with _pool(faulty, max_concurrent=2) as pool:
        running = [await pool.stream(_call("stall")) for _ in range(2)]
        with pytest.raises(UpstreamError) as raised:
            await pool.complete(_call("ok", stream=False))
        assert (raised.value.error_class, raised.value.local) == ("overload", True)
        for stream in running:
            stream.close()
            stream.close()
        for model in ("500", "cut", "silent", "400"):
            with pytest.raises(UpstreamError):
                await pool.complete(_call(model, stream=False, deadline_s=0.5))
        assert [len(await _read(pool, _call("ok"))) > 0 for _ in range(3)] == [True] * 3


@pytest.mark.parametrize("stream", [True, False])
async def test_a_call_is_sent_once_it_may_be_and_its_time_begins_then(faulty: Faulty, stream: bool) -> None:
    clocks, free = Clocks(headers_s=0.2, first_token_s=0.2, answer_s=0.2), asyncio.Event()

    async def cleared() -> None:
        await free.wait()

    async with _pool(faulty, clocks) as pool:
        call = _call("ok", stream=stream, cleared=cleared)
        work = asyncio.ensure_future(_read(pool, call) if stream else pool.complete(call))
        await asyncio.sleep(0.5)
        assert (faulty.calls, work.done()) == ([], False)
        free.set()
        await work
        assert len(faulty.calls) == 1


@pytest.mark.parametrize("stream", [True, False])
async def test_what_may_not_be_sent_is_not_and_its_place_and_connection_serve_again(
    faulty: Faulty, stream: bool
) -> None:
    async def forbidden() -> None:
        raise LookupError

    async with _pool(faulty, max_concurrent=1) as pool:
        for _ in range(2):
            with pytest.raises(LookupError):
                await (pool.stream if stream else pool.complete)(_call("ok", stream=stream, cleared=forbidden))
        assert faulty.calls == []
        assert await _read(pool, _call("ok"))


async def test_headers_go_by_a_list_both_ways(faulty: Faulty) -> None:
    sent = {
        "authorization": "Bearer client", "x-api-key": "client", "cookie": "a=b", "connection": "x-hop", "x-hop": "1",
        "x-banditd-session": "s", "proxy-authorization": "p", "openai-beta": "b1", "traceparent": "00-1-2-01",
        "x-team": "red", "x-other": "no",
    }  # fmt: skip
    async with _pool(faulty, forward_headers=frozenset({"x-team"}), headers={"x-static": "yes"}) as pool:
        stream = await pool.stream(_call("ok", headers=sent))
        stream.close()
    arrived = faulty.calls[0].headers
    assert arrived["authorization"] == f"Bearer {KEY}"
    assert {k: arrived.get(k) for k in ("openai-beta", "traceparent", "x-team", "x-static")} == {
        "openai-beta": "b1", "traceparent": "00-1-2-01", "x-team": "red", "x-static": "yes"
    }  # fmt: skip
    unwanted = {"x-api-key", "cookie", "x-hop", "x-banditd-session", "proxy-authorization", "x-other"}
    assert not unwanted & set(arrived)
    assert stream.headers == {"x-ratelimit-remaining-requests": "7", "x-upstream-request-id": "faulty-1"}


async def test_a_redirect_is_not_followed(faulty: Faulty) -> None:
    async with _pool(faulty) as pool:
        with pytest.raises(UpstreamError) as raised:
            await pool.complete(_call("redirect", stream=False))
    assert raised.value.status == 307
    assert len(faulty.calls) == 1


async def test_a_stale_connection_may_be_tried_again_and_a_fresh_one_not(faulty: Faulty) -> None:
    async with _pool(faulty, keepalive_s=30.0) as pool:
        with pytest.raises(UpstreamError) as fresh:
            await pool.complete(_call("reset", stream=False))
        await pool.complete(_call("ok", stream=False))
        with pytest.raises(UpstreamError) as stale:
            await pool.complete(_call("reset", stream=False))
    assert (fresh.value.retry_same, stale.value.retry_same) == (False, True)


def test_a_key_is_in_no_text_of_its_configuration() -> None:
    config = UpstreamConfig(name="up", kind="openai", base_url="https://x/v1", key=KEY)
    assert KEY not in repr(config) + str(config)
