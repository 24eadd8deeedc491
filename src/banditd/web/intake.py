"""How the bytes of a body come in: checked before they are read, bounded in size, time and number of values.

The library's own inflating is off (``app.py``): it would go on after the answer. What a body means is for
``body.py``.
"""

from __future__ import annotations

import asyncio
import zlib
from typing import Final

from aiohttp import ClientError, HttpVersion11, web
from aiohttp.http_exceptions import HttpProcessingError

from banditd.core.errors import UnavailableError
from banditd.core.long_json import apart
from banditd.web.api import BodyRule, WebSettings
from banditd.web.legible import text_piece
from banditd.web.problems import (
    BadRequestError,
    BodyTimeoutError,
    BodyTooLargeError,
    InvalidFieldsError,
    MediaTypeError,
)

MAX_MEMBERS: Final = 25_000
"""Most members of all objects of a body together: what a model costs to check, in the event loop, at once."""
_SMALL_BYTES: Final = 65_536
_PIECE_BYTES: Final = 131_072
_STOP_S: Final = 1.0
_ENCODINGS: Final = frozenset({"gzip", "x-gzip", "deflate"})


class OpenReads:
    """The bodies that are being read: at the end of the daemon nobody waits for the rest of them."""

    def __init__(self) -> None:
        self._open: set[asyncio.Timeout] = set()
        self.stopping = False

    def stop(self) -> None:
        """Give the bodies that are still coming one more second."""
        self.stopping = True
        latest = asyncio.get_running_loop().time() + _STOP_S
        for timeout in self._open:
            when = timeout.when()
            if when is not None and not timeout.expired():
                timeout.reschedule(min(when, latest))

    async def read(self, request: web.Request, most_bytes: int, within_s: float) -> bytes:
        """All of the body. Raises BodyTooLargeError, BodyTimeoutError, or UnavailableError when the daemon ends."""
        content = request.content
        pieces: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(_STOP_S if self.stopping else within_s) as timeout:
                self._open.add(timeout)
                try:
                    while not content.at_eof():
                        piece = await content.readany()
                        size += len(piece)
                        if size > most_bytes:
                            raise _too_large(most_bytes)
                        pieces.append(piece)
                finally:
                    self._open.discard(timeout)
        except TimeoutError:
            if self.stopping:
                raise UnavailableError("the daemon stops and cannot wait for the rest of the body") from None
            raise BodyTimeoutError(f"the body did not arrive within {within_s:g} seconds") from None
        # Apart where that is long: the library lets others run while it joins.
        return await apart(size > _PIECE_BYTES * 8, b"".join, pieces)


class Intake:
    """The bodies of one route."""

    def __init__(self, rule: BodyRule, settings: WebSettings, reads: OpenReads) -> None:
        self._rule = rule
        self._most_bytes = rule.most_bytes(settings)
        self._within_s = settings.body_timeout_s
        self._reads = reads

    def check(self, request: web.Request) -> None:
        """Look at what the head says of the body; nothing has been read yet.

        Raises MediaTypeError for a type or an encoding that the route does not take, BodyTooLargeError.
        """
        headers = request.headers
        given = headers.get("Content-Type", "")
        plain = given == "application/json" and given in self._rule.types
        if not plain and (request.body_exists or given):
            self._check_type(given)
        encoding = headers.get("Content-Encoding")
        if encoding is not None and encoding.strip().lower() not in _ENCODINGS | {"identity", ""}:
            raise MediaTypeError(
                f"the content encoding {encoding[:80]!r} is not taken; send the body plain, or as gzip or deflate",
                code="UNSUPPORTED_ENCODING",
            )
        length = request.content_length
        if length is not None and length > self._most_bytes:
            raise _too_large(self._most_bytes)

    def _check_type(self, given: str) -> None:
        media = given.partition(";")[0].strip().lower()
        types = self._rule.types
        if media in types or (media.endswith("+json") and "application/json" in types):
            return
        # Clients that set no type of their own (curl -d) would be refused for a formality: name the mend.
        stated = f"declared as {media[:80]!r}" if media else "of no declared type"
        raise MediaTypeError(f"the body is {stated}; send JSON with 'Content-Type: {types[0]}'")

    async def read(self, request: web.Request) -> bytes:
        """The body, inflated.

        Raises BodyTooLargeError, BodyTimeoutError, BadRequestError; InvalidFieldsError for too many values.
        """
        if request.headers.get("Expect", "").lower() == "100-continue" and request.version >= HttpVersion11:
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.writer.output_size = 0
        content = request.content
        try:
            if content.is_eof():  # it came with its head
                body = content.read_nowait(-1)
                if len(body) > self._most_bytes:
                    raise _too_large(self._most_bytes)
            else:
                body = await self._reads.read(request, self._most_bytes, self._within_s)
        except (ConnectionError, ClientError, HttpProcessingError, web.RequestPayloadError):
            # The body broke off: the client's doing, or nobody listens any more.
            raise _broken() from None
        encoding = request.headers.get("Content-Encoding", "").strip().lower()
        if encoding in _ENCODINGS:
            body = await inflate(body, encoding, self._most_bytes)
        if self._rule.bounded and len(body) > _SMALL_BYTES:
            await check_values(body, self._rule.most_elements)
        return body


async def inflate(body: bytes, encoding: str, most_bytes: int) -> bytes:
    """The inflated body; stops at the limit, and lets others run in between.

    Raises BodyTooLargeError beyond ``most_bytes``, BadRequestError for what is not of that encoding.
    """
    bits = 16 + zlib.MAX_WBITS
    if encoding == "deflate":  # with zlib's head as the standard says, or without as some clients send it
        bits = zlib.MAX_WBITS if body[:1] and body[0] & 0xF == 8 else -zlib.MAX_WBITS
    engine = zlib.decompressobj(bits)
    pieces: list[bytes] = []
    size = 0
    rest = body
    try:
        while not engine.eof:
            piece = engine.decompress(rest, min(_PIECE_BYTES, most_bytes + 1 - size))
            rest = engine.unconsumed_tail
            size += len(piece)
            if size > most_bytes:
                raise _too_large(most_bytes)
            pieces.append(piece)
            if not piece and not rest and not engine.eof:
                raise _broken()
            if len(pieces) > 1:
                await asyncio.sleep(0)
    except zlib.error:
        raise _broken() from None
    if engine.unused_data:
        raise _broken()
    return b"".join(pieces)


async def check_values(body: bytes, most_elements: int) -> None:
    """Refuse a large body of more values than a model may cost to check. Raises InvalidFieldsError.

    A cheap bound from above tells nearly always; where it does not (a long text that holds code), the tokens are
    counted apart from the event loop.
    """
    if body.count(b":") <= MAX_MEMBERS and body.count(b",") <= most_elements:
        return
    if not await apart(True, _may_be_checked, body, most_elements):
        message = f"a body may hold {MAX_MEMBERS} fields and {most_elements} list elements in all; send less at once"
        raise InvalidFieldsError(message, errors=[("", message)])


def _may_be_checked(body: bytes, most_elements: int) -> bool:
    members = separators = at = 0
    inside = False
    while at < len(body) and members <= MAX_MEMBERS and separators <= most_elements:
        if inside:
            at, closed = text_piece(body, at, _PIECE_BYTES)
            inside = not closed
            at += closed
        else:
            quote = body.find(b'"', at, at + _PIECE_BYTES)
            until = quote if quote >= 0 else min(len(body), at + _PIECE_BYTES)
            members += body.count(b":", at, until)
            separators += body.count(b",", at, until)
            inside = quote >= 0
            at = until + inside
    return members <= MAX_MEMBERS and separators <= most_elements


def _too_large(most_bytes: int) -> BodyTooLargeError:
    return BodyTooLargeError(f"the body may have at most {most_bytes} bytes")


def _broken() -> BadRequestError:
    return BadRequestError("the body ended early or its encoding is broken", code="BROKEN_BODY")
