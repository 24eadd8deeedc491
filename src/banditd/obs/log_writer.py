"""Lines to a stream from a thread of their own: whoever reads the log too slowly, or not at all, stops nobody.

The queue is bounded; what finds no room is dropped and counted, and the count is in the log once it moves again.
"""

from __future__ import annotations

import atexit
import io
import logging
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TextIO

MAX_LINES: Final = 20_000
MAX_CHARS: Final = 8_388_608
_FLUSH_S: Final = 1.0
_AT_ONCE: Final = 500


class LogHandler(logging.Handler):
    """Formats where it is called, writes elsewhere. A stream that is no file (a test's) is written at once.

    Parameters
    ----------
    stream : where to.
    tell_dropped : from a number of dropped lines to the line that says so.
    """

    def __init__(self, stream: TextIO, *, tell_dropped: Callable[[int], str]) -> None:
        super().__init__()
        self.stream = stream
        self.dropped = 0
        """Lines dropped since the start."""
        self._tell_dropped = tell_dropped
        self._untold = 0
        self._lines: deque[str] = deque()
        self._chars = 0
        self._writing = False
        self._closed = False
        self._changed = threading.Condition()
        self._descriptor = _descriptor_of(stream)
        if self._descriptor is not None:
            threading.Thread(target=self._run, name="log", daemon=True).start()
            atexit.register(self.flush)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception:
            # Its arguments may be anybody's text: what cannot be formatted is only counted.
            self._drop(1)
            return
        self.write_lines([line])

    def handleError(self, record: logging.LogRecord) -> None:
        """Never print a record that failed: its text may be anybody's."""

    def write_lines(self, lines: list[str]) -> None:
        """Take lines without their ends; never waits for whoever reads them."""
        if self._descriptor is None:
            with self._changed:
                self.stream.write("\n".join(lines) + "\n")
                self.stream.flush()
            return
        with self._changed:
            for line in lines:
                if len(self._lines) >= MAX_LINES or self._chars + len(line) > MAX_CHARS:
                    self._drop(1)
                else:
                    self._lines.append(line)
                    self._chars += len(line)
            self._changed.notify_all()

    def flush(self, within_s: float = _FLUSH_S) -> None:
        """Wait until all is written, at most ``within_s``."""
        if self._descriptor is None:
            return
        until = time.monotonic() + within_s
        with self._changed:
            while (self._lines or self._writing) and (left := until - time.monotonic()) > 0:
                self._changed.wait(left)

    def close(self) -> None:
        """Write what is left, end the thread."""
        self.flush()
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._descriptor is not None:
            atexit.unregister(self.flush)
        super().close()

    def _drop(self, count: int) -> None:
        self.dropped += count
        self._untold += count

    def _run(self) -> None:
        assert self._descriptor is not None  # noqa: S101 - the thread runs only with one
        while True:
            with self._changed:
                self._writing = False
                self._changed.notify_all()
                while not self._lines:
                    if self._closed:
                        return
                    self._changed.wait()
                lines = [self._lines.popleft() for _ in range(min(_AT_ONCE, len(self._lines)))]
                self._chars -= sum(map(len, lines))
                if self._untold:
                    lines.append(self._tell_dropped(self._untold))
                    self._untold = 0
                self._writing = True
            if not _write(self._descriptor, ("\n".join(lines) + "\n").encode("utf-8", "backslashreplace")):
                with self._changed:
                    self._drop(len(lines))


def _descriptor_of(stream: TextIO) -> int | None:
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError, AttributeError, io.UnsupportedOperation):
        return None
    with suppress(OSError, ValueError):
        stream.flush()
    return descriptor


def _write(descriptor: int, data: bytes) -> bool:
    """Write all, past the stream's own lock, which would hold up the end of the process. False when it failed."""
    while data:
        try:
            data = data[os.write(descriptor, data) :]
        except BlockingIOError:
            select.select([], [descriptor], [], 1.0)
        except OSError:
            return False
    return True
