"""When the garbage collector walks the whole heap, for nothing else runs while it does.

By itself it would do so several times a second under batches: whatever it finds alive it walks again the next time.
Here it looks every ``LOOK_S``, and then only at what was made since: what lives on is set aside (*frozen*). Reference
counts free what was set aside as they free all else; only cycles that are dropped after they were set aside stay.
They cannot pile up: once as much is set aside again as lived before, everything is looked at together.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

LOOK_S: Final = 10.0
# As many objects are walked in a few milliseconds.
SURVIVORS: Final = 10_000
# Passes over the youngest, with which the collector would begin one over the whole heap: left to ``Heap``.
_NEVER: Final = 100_000
_M_ARENA_MAX: Final = -8  # malloc.h of glibc


@contextmanager
def loading() -> Iterator[None]:
    """While modules are imported: they stay, and walking what is there of them again and again delays a start."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def one_arena() -> None:
    """Let all threads allocate from one arena, where the C library is glibc; elsewhere nothing changes.

    By itself glibc gives threads arenas of their own, and what was freed in one serves no other: a daemon with a
    dozen threads grows for days. They hardly wait for each other here, since Python's own lock is held around most
    of it. To be called before the first of them starts.
    """
    with suppress(AttributeError, OSError, TypeError):  # no such function, or (Windows) no such library
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


class Heap:
    """The heap of this process; there is one. survivors : objects that may be walked again the next time."""

    def __init__(self, *, survivors: int = SURVIVORS) -> None:
        self._survivors = survivors
        self._lived = self._added = 0  # objects that were set aside by ``settle``, and since

    async def tend(self) -> None:
        """Look on and on."""
        youngest, young, _ = gc.get_threshold()
        gc.set_threshold(youngest, young, _NEVER)
        while True:
            await asyncio.sleep(LOOK_S)
            self.look()

    def settle(self) -> None:
        """Free every cycle that nobody refers to, and set aside what lives."""
        gc.unfreeze()
        gc.collect()
        gc.freeze()
        self._lived, self._added = gc.get_freeze_count(), 0

    def look(self) -> None:
        """Free the cycles among what was made since; set aside what lives on if it is much."""
        gc.collect()
        living = len(gc.get_objects(generation=2))
        if living <= self._survivors:
            return
        gc.freeze()
        self._added += living
        if self._added > self._lived:
            self.settle()
