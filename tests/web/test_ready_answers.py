"""The short ways of the HTTP layer end where the library's own do: answers in one step, paths without a router."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer
from aiohttp.typedefs import Middleware
from tests.web.conftest import MemoryDaemon
from yarl import URL

from banditd.web.app import WebSettings, create_app
from banditd.web.connection import Runner
from banditd.web.json import Answer

Handler = Callable[..., Awaitable[web.StreamResponse]]
HEADERS = {"Content-Type": "application/json", "Server": "banditd/test"}


async def _exchange(kind: type[web.Response], request: bytes, body: bytes, status: int) -> tuple[set[bytes], bytes]:
    """(status line and headers, what follows them), of an answer after which the client closes the connection."""

    async def answer(_: web.Request) -> web.Response:
        return kind(body=body, status=status, headers=HEADERS)

    app = web.Application()
    app.router.add_get("/", answer)
    async with TestServer(app) as server:
        reader, writer = await asyncio.open_connection(server.host, server.port)
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        rest = b"" if request.startswith(b"HEAD") else await reader.readexactly(len(body))
        writer.close()
        await writer.wait_closed()
    return {line for line in head.split(b"\r\n") if not line.startswith(b"Date:")}, rest


@pytest.mark.parametrize("status", [200, 207])
@pytest.mark.parametrize("body", [b'{"arm":"small"}', b""])
@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET / HTTP/1.1\r\nHost: here\r\n\r\n",
        b"HEAD / HTTP/1.1\r\nHost: here\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.0\r\nHost: here\r\n\r\n",
        b"GET / HTTP/1.0\r\nHost: here\r\nConnection: keep-alive\r\n\r\n",
    ],
)
async def test_it_is_the_librarys_answer(request_bytes: bytes, body: bytes, status: int) -> None:
    ours = await _exchange(Answer, request_bytes, body, status)
    assert ours == await _exchange(web.Response, request_bytes, body, status)


@asynccontextmanager
async def _served(daemon: MemoryDaemon, outside: Sequence[Middleware] = ()) -> AsyncIterator[URL]:
    """The application as the daemon serves it, over connections of our own."""
    app = create_app(daemon.open, WebSettings(access_log=False), outside=outside)
    runner = Runner(app, header_timeout_s=5.0, write_timeout_s=5.0, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield URL.build(scheme="http", host="127.0.0.1", port=runner.addresses[0][1])
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("path", ["/v1/route", "/v1/route?of=nothing", "/v1/%72oute"])
async def test_a_path_is_answered_alike_with_and_without_the_router(daemon: MemoryDaemon, path: str) -> None:
    async with _served(daemon) as url, ClientSession() as session:
        target = URL(f"{url}{path}", encoded=True)
        answered = await session.post(target, json={"input": "Hello"})
        assert (answered.status, "x-request-id" in answered.headers) == (200, True)
        refused = await session.put(target, json={"input": "Hello"})
        assert (refused.status, refused.headers["Allow"]) == (405, "POST")


async def test_what_stands_around_the_application_sees_every_request(daemon: MemoryDaemon) -> None:
    seen = []

    @web.middleware
    async def watch(
        request: web.Request, handler: Callable[..., Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        seen.append(request.path)
        return await handler(request)

    async with _served(daemon, [watch]) as url, ClientSession() as session:
        assert (await session.post(url / "v1/route", json={"input": "Hello"})).status == 200
    assert seen == ["/v1/route"]
