"""What must be gone when the last daemon of a test has closed: its tasks, its threads, its open files."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_ours = str(Path(__file__).resolve().parents[1] / "src" / "banditd")
_THREADS_END_S = 60.0  # a thread that was told to end may need a moment; one that was not stays for ever


def tasks() -> set[str]:
    """Unfinished tasks whose coroutine is banditd's."""
    found = set()
    for task in asyncio.all_tasks():
        code = getattr(task.get_coro(), "cr_code", None)
        if code is not None and code.co_filename.startswith(_ours) and not task.done():
            found.add(f"task {task.get_name()} ({code.co_qualname})")
    return found


def threads() -> set[str]:
    """Threads but for the event loop's own pool, which ends with the loop."""
    return {
        f"thread {thread.name} ({thread.ident})"
        for thread in threading.enumerate()
        if not thread.name.startswith(("asyncio_", "MainThread", "ThreadPoolExecutor"))
    }


def files(below: Path) -> set[str]:
    """Open files below a folder."""
    found = set()
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            path = str(descriptor.readlink())
        except OSError:
            continue  # closed meanwhile
        if path.startswith(str(below)):
            found.add(f"file {path} ({descriptor.name})")
    return found


class Leaks:
    """Compares what is there when no daemon runs with what there was before the first."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running = 0
        self._before: set[str] = set()

    def now(self) -> set[str]:
        return tasks() | threads() | files(self._folder)

    @contextmanager
    def around(self) -> Iterator[None]:
        """Around a daemon. Fails where the last that closes leaves something."""
        if not self._running:
            self._before = self.now()
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1
        if not self._running:
            until = time.monotonic() + _THREADS_END_S
            while (left := self.now() - self._before) and time.monotonic() < until:
                time.sleep(0.02)
            assert not left, f"left behind: {sorted(left)}"
