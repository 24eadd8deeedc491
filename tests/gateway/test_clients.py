"""Clients that leave, wait, read slowly, or come in crowds: seen from raw sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from bench.faulty.app import Faulty
from tests.gateway.conftest import Serve, Served, arm
from tests.gateway.test_faults import hung_up, settled

ASKED = [{"role": "user", "content": "Say hello."}]


def request(served: Served, model: str, *, stream: bool, **more: Any) -> bytes:
    body = json.dumps({"model": model, "messages": ASKED, "stream": stream, **more}).encode()
    host = served.url.removeprefix("http://")
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    return head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body


@asynccontextmanager
async def connected(served: Served) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    host, port = served.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield reader, writer
    finally:
        writer.close()


def body_of(raw: bytes) -> bytes:
    """A body that came in chunks; it must have its last one."""
    _, _, rest = raw.partition(b"\r\n\r\n")
    made = b""
    while True:
        size, _, rest = rest.partition(b"\r\n")
        length = int(size, 16)
        if length == 0:
            return made
        made += rest[:length]
        rest = rest[length + 2 :]


async def called(faulty: Faulty, count: int = 1) -> None:
    while len(faulty.calls) < count:  # noqa: ASYNC110
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("model", "stream", "first"),
    [
        ("silent", True, False),  # waiting for the first token
        ("role-silent", True, False),
        ("silent", False, False),  # waiting for the whole answer
        ("stall", True, True),  # in the middle of the stream
        ("endless", True, True),
        ("flood", True, True),
    ],
)
async def test_when_the_client_leaves_the_upstream_is_closed_and_the_call_is_charged(
    serve: Serve, faulty: Faulty, model: str, stream: bool, first: bool
) -> None:
    async with serve(model) as served:
        async with connected(served) as (reader, writer):
            writer.write(request(served, "banditd/auto", stream=stream))
            await called(faulty)
            if first:
                await reader.readuntil(b'"Hel"' if model == "stall" else b"content")
        began = asyncio.get_running_loop().time()
        await hung_up(faulty)
        waited_s = asyncio.get_running_loop().time() - began
        assert faulty.calls[0].ending == "hung_up"
        [row] = await settled(served)
        spent = served.daemon.metrics.gateway_requests.labels("chat", "client_gone")._value.get()
    assert waited_s < 5.0  # within a second on a machine that has nothing else to do
    assert row["usage"]["error"] == "client_gone"
    assert row["usage"]["input_tokens"] > 0
    assert row["usage"]["cost_usd"] > 0
    assert (row["usage"]["output_tokens"] > 0) is first
    assert spent == 1


async def test_whose_answer_a_client_left_is_who_served(serve: Serve, faulty: Faulty) -> None:
    dear = {"usd_per_mtok_in": 1e6, "usd_per_mtok_out": 1e6}
    async with serve(arm("400-context", price=dear, context_window_tokens=100), arm("stall")) as served:
        async with connected(served) as (reader, writer):
            writer.write(request(served, "banditd/auto", stream=True))
            await reader.readuntil(b'"Hel"')
        await hung_up(faulty)
        [row] = await settled(served)
    assert (row["usage"]["error"], row["usage"]["served_arm"]) == ("client_gone", "stall")
    assert [one["arm"] for one in row["attempts"]] == ["400-context", "stall"]
    assert row["usage"]["cost_usd"] < 0.1  # at the price of the arm that was left, not of the one that was chosen


async def test_a_client_that_leaves_cools_no_arm(serve: Serve, faulty: Faulty) -> None:
    async with serve("role-silent", policy={"breaker_errors": 1}) as served:
        for count in (1, 2):
            async with connected(served) as (_, writer):
                writer.write(request(served, "banditd/auto", stream=True))
                await called(faulty, count)
            await hung_up(faulty)
        await settled(served)
        assert served.daemon.services.gateway.left_alone("default") == {}  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "model", ["ok", "ok-crlf", "ok-cr", "ok-split", "ok-comments", "ok-lines", "ok-tools", "ok-no-done", "ok-gzip"]
)
async def test_bytes_are_the_upstreams_bytes(serve: Serve, faulty: Faulty, model: str) -> None:
    """The golden rule, on the wire: the client gets what the upstream sent, less a usage chunk not asked for."""
    async with serve(model) as served:
        for asked, usage in (({}, False), ({"stream_options": {"include_usage": True}}, True)):
            async with connected(served) as (reader, writer):
                writer.write(request(served, "banditd/auto", stream=True, **asked))
                raw = await reader.readuntil(b"\r\n0\r\n\r\n")
            sent = bytes(faulty.calls[-1].sent)
            end = {"ok-crlf": b"\r\n", "ok-cr": b"\r"}.get(model, b"\n")
            events = [one + end * 2 for one in sent.split(end * 2)[:-1]]
            kept = [one for one in events if usage or b'"choices": []' not in one.replace(end + b"data: ", b" ")]
            assert body_of(raw) == b"".join(kept)


async def test_who_waits_gets_comments_and_then_an_answer_or_an_error(serve: Serve, faulty: Faulty) -> None:
    patient = {"headers_s": 1.5, "first_token_s": 1.5}
    async with serve("ok-late", "silent", gateway={"keepalive_s": 0.3}, timeouts=patient) as served:
        async with connected(served) as (reader, writer):
            writer.write(request(served, "banditd/arm/ok-late", stream=True))
            late = await reader.readuntil(b"\r\n0\r\n\r\n")
        async with connected(served) as (reader, writer):
            writer.write(request(served, "banditd/arm/silent", stream=True))
            silent = await reader.readuntil(b"\r\n0\r\n\r\n")
    for raw in (late, silent):
        assert raw.startswith(b"HTTP/1.1 200")
        assert body_of(raw).startswith(b": keep-alive\n\n")
    events = [event + b"\n\n" for event in bytes(faulty.calls[0].sent).split(b"\n\n")[:-1]]
    shown = [event for event in events if b'"choices": []' not in event]
    assert body_of(late).replace(b": keep-alive\n\n", b"") == b"".join(shown)
    error = json.loads(body_of(silent).replace(b": keep-alive\n\n", b"").removeprefix(b"data: "))["error"]
    assert error["code"] == "timeout_headers"
    assert b"[DONE]" not in silent


async def test_a_quiet_stream_is_kept_alive(serve: Serve) -> None:
    quiet = serve("stall", gateway={"keepalive_s": 0.3}, timeouts={"idle_s": 1.5})
    async with quiet as served, connected(served) as (reader, writer):
        writer.write(request(served, "banditd/auto", stream=True))
        body = body_of(await reader.readuntil(b"\r\n0\r\n\r\n"))
    assert body.count(b": keep-alive\n\n") >= 2
    assert json.loads(body.split(b"data: ")[-1])["error"]["code"] == "timeout_idle"


async def test_a_slow_client_slows_its_upstream(serve: Serve, faulty: Faulty) -> None:
    """Nothing piles up here: while the client does not read, the upstream cannot send more than buffers hold."""
    async with serve("flood") as served, connected(served) as (reader, writer):
        writer.write(request(served, "banditd/auto", stream=True))
        await reader.readuntil(b"content")
        sent = -1
        while sent != len(faulty.calls[0].sent):  # until it stands still
            sent = len(faulty.calls[0].sent)
            await asyncio.sleep(0.5)
        assert faulty.calls[0].ending == "open"
    assert sent < 40_000_000


async def test_requests_at_once_are_bounded_by_caller_and_places_are_given_back(serve: Serve, faulty: Faulty) -> None:
    async with serve("stall", "ok", gateway={"max_streams_per_key": 2}) as served, aiohttp.ClientSession() as session:
        body = {"model": "banditd/arm/stall", "messages": ASKED, "stream": True}
        url = f"{served.base}/chat/completions"
        first, second = await session.post(url, json=body), await session.post(url, json=body)
        async with session.post(url, json=body) as refused:
            said = await refused.json()
            assert (refused.status, said["error"]["code"]) == (429, "too_many_streams")
            assert refused.headers["x-should-retry"] == "true"
        first.close()
        second.close()
        await hung_up(faulty)
        body = {"model": "banditd/arm/ok", "messages": ASKED}
        while True:  # until the handlers have noticed
            async with session.post(url, json=body) as answer:
                if answer.status == 200:
                    break
        assert served.daemon.metrics.gateway_open._value.get() == 0


async def test_a_full_upstream_is_another_arms_turn_and_no_failure(serve: Serve, faulty: Faulty) -> None:
    full = serve("stall", upstream={"max_concurrent": 1}, policy={"breaker_errors": 1})
    async with full as served, aiohttp.ClientSession() as session:
        url = f"{served.base}/chat/completions"
        body = {"model": "banditd/auto", "messages": ASKED, "stream": True}
        running = await session.post(url, json=body)
        async with session.post(url, json=body) as refused:
            said = await refused.json()
            assert (refused.status, said["error"]["code"]) == (429, "max_concurrent")
            assert refused.headers["retry-after"] == "1"
        assert served.daemon.services.gateway.left_alone("default") == {}  # type: ignore[union-attr]
        running.close()


async def test_the_end_of_the_daemon_is_an_error_in_the_stream(serve: Serve, faulty: Faulty) -> None:
    async with serve("stall") as served:
        host, port = served.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(request(served, "banditd/auto", stream=True))
        await reader.readuntil(b'"lo "')
    rest = await reader.read()
    writer.close()
    assert b'"code":"shutting_down"' in rest
    assert b"[DONE]" not in rest
    assert faulty.calls[0].ending == "hung_up"


async def test_many_requests_at_once_are_each_settled_once(serve: Serve, faulty: Faulty) -> None:
    async with serve("ok", arm("500")) as served, aiohttp.ClientSession() as session:
        url = f"{served.base}/chat/completions"

        async def one(number: int) -> int:
            body = {"model": "banditd/auto", "messages": ASKED, "stream": bool(number % 2)}
            async with session.post(url, json=body) as answer:
                await answer.read()
                return answer.status

        assert await asyncio.gather(*(one(number) for number in range(60))) == [200] * 60
        rows = await settled(served)
    assert len(rows) == 60
    assert sum(row["usage"]["output_tokens"] for row in rows) == 60 * 5
