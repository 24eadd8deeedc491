"""An answer that is sent in one step is on the wire what the library makes of it."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from banditd.web.json import Answer

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
