"""Deadlines of the database, and the thread that holds connections to them.

A server that is silent, or a network that swallows everything, leaves a driver waiting for an answer for ever. Here
every stretch of work on connections has an end: when it comes, their sockets are shut down, and whoever waits gets
an error at once, which means a lost connection to everybody above.
"""

from __future__ import annotations

import contextlib
import math
import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

TICK_S: Final = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadlines:
    """How long anybody waits for the database, in seconds.

    transaction_s : one transaction, read or write, from asking for a connection to the answer of its commit; also the
    longest wait in the queue before it. lock_s : a lock of another process. silence_s : PostgreSQL ends a transaction
    whose replica says nothing for this long, and so frees its locks. report_s : a read of a report or of the log.
    """

    transaction_s: float = 10.0
    lock_s: float = 5.0
    silence_s: float = 3.0
    report_s: float = 60.0


class Line:
    """A second handle on a connection's socket, to end it from another thread."""

    def __init__(self, fileno: int) -> None:
        self._fileno = os.dup(fileno)
        self._lock = threading.Lock()

    def cut(self) -> None:
        """Shut the connection down both ways: reads and writes of its owner fail at once."""
        with self._lock:
            if self._fileno < 0:
                return
            handle = socket.socket(fileno=self._fileno)
            try:
                with contextlib.suppress(OSError):  # it is gone already
                    handle.shutdown(socket.SHUT_RDWR)
            finally:
                handle.detach()

    def close(self) -> None:
        with self._lock:
            fileno, self._fileno = self._fileno, -1
            if fileno >= 0:
                os.close(fileno)

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            self.close()


class Limit:
    """One stretch of work with an end; knows the connections that it uses."""

    __slots__ = ("began_s", "expired", "lines", "until_s")

    def __init__(self, seconds: float) -> None:
        self.began_s = time.monotonic()
        self.until_s = self.began_s + seconds
        self.lines: list[Line] = []
        self.expired = False


class Watch:
    """Cuts the connections of work that has passed its limit, in a thread that begins with the first connection."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._limits: set[Limit] = set()
        self._longest_s = math.inf
        self._here = threading.local()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @contextlib.contextmanager
    def limit(self, seconds: float) -> Iterator[Limit]:
        """Connections that this thread opens, takes from the pool or adopts inside are cut after ``seconds``."""
        limit = Limit(seconds)
        before = getattr(self._here, "limit", None)
        with self._lock:
            self._limits.add(limit)
        self._here.limit = limit
        try:
            yield limit
        finally:
            self._here.limit = before
            with self._lock:
                self._limits.discard(limit)

    def adopt(self, line: Line | None) -> None:
        """Put a connection under the limit of the thread that calls; nothing without one."""
        limit: Limit | None = getattr(self._here, "limit", None)
        if limit is None or line is None:
            return
        with self._lock:
            limit.lines.append(line)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="banditd-watch", daemon=True)
                self._thread.start()
        if limit.expired:
            line.cut()

    def hurry(self, seconds: float) -> None:
        """From now on no work lasts longer; what has begun counts from now."""
        with self._lock:
            self._longest_s = seconds
            for limit in self._limits:
                limit.began_s = time.monotonic()

    def _end_s(self, limit: Limit) -> float:
        return min(limit.until_s, limit.began_s + self._longest_s)

    def stop(self) -> None:
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.wait(TICK_S):
            now_s = time.monotonic()
            with self._lock:
                late = [limit for limit in self._limits if not limit.expired and self._end_s(limit) <= now_s]
                for limit in late:
                    limit.expired = True
                    # Under the lock: work that has just ended must not lose the connection it has given back.
                    for line in limit.lines:
                        line.cut()
