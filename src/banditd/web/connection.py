"""One connection: how long a client may take over a head and over its answer, and what becomes of broken HTTP.

Bodies have their own time-out (``intake.py``). The library's protocol does the rest.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias

from aiohttp import StreamReader, web
from aiohttp.http_exceptions import LineTooLong
from aiohttp.http_parser import RawRequestMessage
from aiohttp.http_writer import StreamWriter
from aiohttp.web_protocol import ERROR

from banditd.web.keys import DIRECT
from banditd.web.problems import BadRequestError, problem_answer

logger = logging.getLogger("banditd.web")
_BROKEN: Final = "the request breaks HTTP: its first line or its headers cannot be read"
_Handler: TypeAlias = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
_TOO_LONG: Final = "the first line or a header of the request is longer than 8190 bytes"


class Connection(web.RequestHandler):
    """The library's protocol with time-outs, and without its own words in the log."""

    __slots__ = ("_head_timer", "_header_timeout_s", "_unsent_bytes", "_write_timeout_s", "_write_timer")

    def __init__(self, server: web.Server, *, header_timeout_s: float, write_timeout_s: float, **kwargs: Any) -> None:
        super().__init__(server, **kwargs)
        self._header_timeout_s = header_timeout_s
        self._write_timeout_s = write_timeout_s
        self._head_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._unsent_bytes = 0

    async def start(self) -> None:
        """Answer the requests of the connection, one after another, in its own task.

        The library makes a task of each request, so that what one keeps in context variables is kept from the next.
        Every request sets ours anew (``middleware.py``), so they save a task and a turn of the loop.
        """
        loop, server = self._loop, self._manager
        make_request, usual = self._request_factory, self._request_handler
        if server is None or make_request is None or usual is None:  # lost before it began
            return
        while not self._force_close:
            if not self._messages:
                self._waiter = loop.create_future()
                try:
                    await self._waiter
                finally:
                    self._waiter = None
            message, payload = self._next_message()
            server.requests_count += 1
            broken = not isinstance(message, RawRequestMessage)
            handler = self._make_error_handler(message) if broken else usual
            task: Any = self._task_handler or asyncio.current_task()
            request = make_request(ERROR if broken else message, payload, self, StreamWriter(self, loop), task)
            if not await self._answered(request, payload, handler):
                break
            self._next_keepalive_close_time = loop.time() + self._keepalive_timeout
            if self._keepalive_handle is None:
                self._keepalive_handle = loop.call_at(self._next_keepalive_close_time, self._process_keepalive)
        if not self._force_close:
            self._task_handler = None
            if self.transport is not None:
                self.transport.close()

    def _next_message(self) -> tuple[Any, StreamReader]:
        """The next request; the parser goes on where it waited for room."""
        found = self._messages.popleft()
        if self._parser is not None:
            self._parser.message_consumed()
        if self._buffer_paused and len(self._messages) <= self._msg_queue_resume_size:
            self._resume_reading_if_drained()
        return found

    async def _answered(self, request: web.BaseRequest, payload: StreamReader, handler: _Handler) -> bool:
        """Answer a request; whether the connection goes on."""
        try:
            answer, gone = await self._handle_request(request, None, handler)
            if gone:
                return False
            self._keepalive = bool(answer.keep_alive)
            if not payload.is_eof():
                await self._drop_rest(payload)
        except ConnectionError:
            return False
        except Exception:
            logger.exception("connection.failed")
            self.force_close()
        except BaseException:
            self.force_close()
            raise
        finally:
            request._task = None  # type: ignore[assignment]  # noqa: SLF001 - a cycle, as in the library
        return self._keepalive and not self._close and not self._force_close

    async def _drop_rest(self, payload: StreamReader) -> None:
        """Read what nobody wants of a body, so that its client comes to read the answer; not for ever."""
        with contextlib.suppress(TimeoutError, web.RequestPayloadError):
            async with asyncio.timeout(0.0 if self._force_close else self._lingering_time):
                while not payload.is_eof():
                    await payload.readany()
        if not payload.is_eof():
            self.close()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        waiter = self._waiter
        # The first bytes may come before the library waits for any.
        incomplete = self._request_count == 0 if waiter is None else not waiter.done()
        if not incomplete:
            if self._head_timer is not None:
                self._head_timer.cancel()
                self._head_timer = None
        elif self._head_timer is None and data:
            self._head_timer = self._loop.call_later(self._header_timeout_s, self._give_up)

    def resume_reading(self, resume_parser: bool = True) -> None:
        if self._reading_paused:  # the library looks for more to parse after every body, though nothing was held up
            super().resume_reading(resume_parser)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_writing()

    def resume_writing(self) -> None:
        self._forget_writing()
        super().resume_writing()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._forget_writing()
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
        super().connection_lost(exc)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what never reached the middleware. Only the kind of error is logged: its text quotes the client."""
        if status == 400:
            logger.info("request.malformed", extra={"error": type(exc).__name__})
            detail = _TOO_LONG if isinstance(exc, LineTooLong) else _BROKEN
            answer = problem_answer(BadRequestError(detail, code="MALFORMED_REQUEST"), "none")
        else:
            logger.error("request.failed", exc_info=exc)
            answer = problem_answer(exc or RuntimeError(), "none")
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun already")
        answer.force_close()
        return answer

    def _give_up(self) -> None:
        self._head_timer = None
        logger.info("connection.head_timeout")
        self.force_close()

    def _watch_writing(self) -> None:
        if self.transport is not None:
            self._unsent_bytes = self.transport.get_write_buffer_size()
            self._write_timer = self._loop.call_later(self._write_timeout_s, self._look_at_writing)

    def _look_at_writing(self) -> None:
        """A slow client may go on; one that has taken nothing since the last look is left."""
        if self.transport is None:
            return
        if self.transport.get_write_buffer_size() < self._unsent_bytes:
            self._watch_writing()
            return
        logger.info("connection.write_timeout")
        self.transport.abort()

    def _forget_writing(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None


class ConnectionServer(web.Server):
    """Makes our connections."""

    def __call__(self) -> web.RequestHandler:
        return Connection(self, loop=self._loop, **self._kwargs)


class Runner(web.AppRunner):
    """The library's runner over our connections; takes ``header_timeout_s`` and ``write_timeout_s`` besides."""

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        usual, direct = made.request_handler, self.app.get(DIRECT, {})

        def handle(request: web.BaseRequest) -> Awaitable[web.StreamResponse]:
            """As the application does, without its router where a path is known as it stands."""
            walk = direct.get((request.method, request.raw_path))
            return usual(request) if walk is None else walk(request)

        return ConnectionServer(
            handle,
            request_factory=made.request_factory,
            **made._kwargs,  # noqa: SLF001 - what the application adds to ours
        )
