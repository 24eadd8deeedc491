"""A small TCP proxy before PostgreSQL that can fail as networks do: for tests and for ``make chaos``.

It runs in a thread with an event loop of its own, so tests of any kind can drive it with plain calls.

    with Proxy.before("postgresql://me@host/db") as proxy:
        ...                      # use proxy.url
        proxy.black_hole()       # connections that exist fall silent, new ones work
        proxy.cut_commits(1)     # the next COMMIT happens, and its answer is lost with the connection
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from sqlalchemy.engine import URL, make_url

T = TypeVar("T")
_CHUNK: Final = 65_536
_COMMITTED: Final = b"C\x00\x00\x00\x0bCOMMIT\x00"  # CommandComplete as the server sends it
_COMMIT: Final = b"COMMIT\x00"  # the end of the query as the client sends it

Rewrite = Callable[[bytes], bytes]


def free_port() -> int:
    """A port of this machine that nobody has just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class _Link:
    """One connection through the proxy."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.client = client
        self.server = server
        self.silent = False

    def cut(self) -> None:
        for writer in (self.client, self.server):
            with contextlib.suppress(Exception):
                writer.transport.abort()


class Proxy:
    """Forwards connections to one server, until it is told to misbehave.

    Parameters
    ----------
    upstream : URL of the database; over TCP, or a socket in the folder that ``host`` of its query names.
    to_server, to_client : see and change what passes, chunk by chunk (tests of what is said on the wire).
    """

    def __init__(self, upstream: URL, *, to_server: Rewrite | None = None, to_client: Rewrite | None = None) -> None:
        self._upstream = upstream
        self._rewrites = {True: to_server, False: to_client}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._refusing = self._all_silent = False
        self._cut_after = self._cut_before = 0
        self.cuts = 0  # connections cut around a COMMIT so far
        self.port = 0

    @classmethod
    def before(cls, url: str, **rewrites: Rewrite | None) -> Proxy:
        return cls(make_url(url), **rewrites)

    @property
    def url(self) -> str:
        """The database's URL by way of the proxy."""
        query = {name: value for name, value in self._upstream.query.items() if name not in {"host", "port"}}
        through = self._upstream.set(host="127.0.0.1", port=self.port, query=query)
        return through.render_as_string(hide_password=False)

    def __enter__(self) -> Proxy:
        self._thread.start()
        self._call(self._listen())
        return self

    def __exit__(self, *_exc: object) -> None:
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # ------------------------------------------------------------ what goes wrong

    def black_hole(self, *, new: bool = False) -> None:
        """Swallow everything on the connections that exist (and, with ``new``, on those to come)."""
        self._call(self._fall_silent(new))

    def heal(self) -> None:
        """Forward new connections as they come; those that fell silent stay so, as a lost route would leave them."""
        self._call(self._recover())

    def drop(self, *, refuse: bool = False) -> None:
        """Cut every connection; with ``refuse`` no new one is taken until ``heal``."""
        self._call(self._drop(refuse))

    def cut_commits(self, times: int, *, before: bool = False) -> None:
        """Cut the connections of the next COMMITs: when each has happened, or ``before`` the server hears of it."""
        self._call(self._cut_next(times, before))

    # ------------------------------------------------------------ in the loop

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30.0)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
        await self._drop(refuse=True)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _fall_silent(self, new: bool) -> None:
        self._all_silent = new
        for link in self._links:
            link.silent = True

    async def _recover(self) -> None:
        self._refusing = self._all_silent = False

    async def _drop(self, refuse: bool) -> None:
        self._refusing = refuse
        for link in list(self._links):
            link.cut()

    async def _cut_next(self, times: int, before: bool) -> None:
        if before:
            self._cut_before = times
        else:
            self._cut_after = times

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refusing:
            writer.transport.abort()
            return
        try:
            from_server, to_server = await self._connect()
        except OSError:
            writer.transport.abort()
            return
        link = _Link(writer, to_server)
        link.silent = self._all_silent
        self._links.add(link)
        for source, target, to in ((reader, to_server, True), (from_server, writer, False)):
            task = asyncio.create_task(self._pump(link, source, target, to_server=to))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        folder = self._upstream.query.get("host")
        port = self._upstream.port or 5432
        if isinstance(folder, str) and folder.startswith("/"):
            return await asyncio.open_unix_connection(f"{folder}/.s.PGSQL.{port}")
        return await asyncio.open_connection(self._upstream.host or "127.0.0.1", port)

    async def _pump(
        self, link: _Link, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, to_server: bool
    ) -> None:
        rewrite = self._rewrites[to_server]
        with contextlib.suppress(OSError):
            while data := await source.read(_CHUNK):
                if link.silent:
                    continue
                if self._cuts(data, to_server=to_server):
                    self.cuts += 1
                    break
                target.write(data if rewrite is None else rewrite(data))
                await target.drain()
        # A connection that fell silent does not tell either side that the other has gone.
        if not link.silent:
            link.cut()
            self._links.discard(link)

    def _cuts(self, data: bytes, *, to_server: bool) -> bool:
        """Whether this chunk is a COMMIT, or its answer, that is to be lost."""
        if to_server and self._cut_before and data.endswith(_COMMIT):
            self._cut_before -= 1
            return True
        if not to_server and self._cut_after and _COMMITTED in data:
            self._cut_after -= 1
            return True
        return False
