"""One ticker for all running answers: notices clients that have gone, and keeps quiet connections alive.

The library tells a handler nothing when its client goes, and a timer for every answer would cost more than a look at
all of them four times a second.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web

logger = logging.getLogger(__name__)
TICK_S: Final = 0.25


@dataclass(slots=True, eq=False)
class Watched:
    """One running answer.

    response : the stream, once it has begun. begin_early : begins it with a comment, where it may. opening : held by
    whoever begins it, or answers otherwise. gone : its client is. stopping : the daemon ends before it.
    """

    request: web.Request
    task: asyncio.Task[object]
    keep_alive: bytes
    response: web.StreamResponse | None = None
    begin_early: Callable[[], Awaitable[None]] | None = None
    opening: asyncio.Lock = field(default_factory=asyncio.Lock)
    last_write_s: float = 0.0
    gone: bool = False
    stopping: bool = False


@dataclass(slots=True)
class ClientWatch:
    """Cancels the handler of a client that has gone. keepalive_s : silence after which a stream gets a comment."""

    keepalive_s: float
    _watched: set[Watched] = field(default_factory=set)
    _ticker: asyncio.Task[None] | None = None
    _stop_at_s: float | None = None

    @contextmanager
    def watching(self, request: web.Request, keep_alive: bytes) -> Iterator[Watched]:
        """The calling task is cancelled when the client goes or the daemon ends; the flags tell which."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - handlers run in tasks
        watched = Watched(request, task, keep_alive, last_write_s=asyncio.get_running_loop().time())
        self._watched.add(watched)
        if self._ticker is None or self._ticker.done():
            self._ticker = asyncio.get_running_loop().create_task(self._tick())
        try:
            yield watched
        finally:
            self._watched.discard(watched)

    def stop(self, within_s: float) -> None:
        """The daemon ends: what still runs after this time is told so."""
        self._stop_at_s = asyncio.get_running_loop().time() + within_s

    @property
    def open(self) -> int:
        """Answers that are running."""
        return len(self._watched)

    async def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        while self._watched:
            await asyncio.sleep(TICK_S)
            now_s = loop.time()
            stopping = self._stop_at_s is not None and now_s >= self._stop_at_s
            for watched in list(self._watched):
                try:
                    await self._look(watched, now_s, stopping=stopping)
                except ConnectionError:
                    continue  # it has gone: the next look sees it
                except Exception:
                    logger.exception("gateway.watch_failed")  # the others are looked at all the same

    async def _look(self, watched: Watched, now_s: float, *, stopping: bool) -> None:
        transport = watched.request.transport
        if transport is None or transport.is_closing():
            watched.gone = True
            self._watched.discard(watched)
            watched.task.cancel()
        elif stopping:
            watched.stopping = True
            self._watched.discard(watched)
            watched.task.cancel()
        elif (
            watched.response is not None
            and now_s - watched.last_write_s >= self.keepalive_s
            and transport.get_write_buffer_size() == 0  # else it is not quiet, but slow
        ):
            watched.last_write_s = now_s
            await watched.response.write(watched.keep_alive)
        elif watched.begin_early is not None and now_s - watched.last_write_s >= self.keepalive_s:
            await watched.begin_early()
