"""The client that ``bench.load`` has where there is no wrk."""

from __future__ import annotations

import asyncio

import pytest
from bench.load import _skip_body


@pytest.mark.parametrize(
    ("head", "body"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", b"hello"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"5\r\nhello\r\n6;a=b\r\n world\r\n0\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"5\r\nhello\r\n0\r\nx-sum: 1\r\n\r\n"),
    ],
)
async def test_an_answer_of_a_stated_length_or_in_chunks_is_read_to_its_end_and_no_further(
    head: bytes, body: bytes
) -> None:
    reader = asyncio.StreamReader()
    reader.feed_data(body + b"HTTP/1.1")
    await _skip_body(reader, head)
    assert await reader.readexactly(8) == b"HTTP/1.1"
