"""A step that is taken now and then beside the requests, for as long as the daemon runs."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Final

from banditd.core.errors import BanditdError

LONGEST_REST_S: Final = 0.5  # a busy machine must not make what is kept up old


class Loop:
    """One task. A step that fails is logged as ``<what>.failed``, a bug as ``<what>.crashed``, and it goes on.

    every_s : seconds between two steps, unless it is woken. rests : times as long as a step has worked others have
    the process to themselves, but half a second at most.
    """

    def __init__(
        self,
        step: Callable[[], Awaitable[None]],
        *,
        name: str,
        every_s: float,
        log: tuple[logging.Logger, str],
        rests: float = 0.0,
    ) -> None:
        self._step, self._name, self._every_s, self._rests = step, name, every_s, rests
        self._logger, self._what = log
        self._woken, self._stopped = asyncio.Event(), asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; the first step comes after ``every_s``."""
        self._task = asyncio.create_task(self._run(), name=self._name)

    def wake(self) -> None:
        """Take the next step at once."""
        self._woken.set()

    async def stop(self) -> None:
        """End after the present step."""
        self._stopped.set()
        self._woken.set()
        if self._task is not None:
            await self._task

    async def once(self) -> None:
        """Take one step now, and survive it."""
        try:
            await self._step()
        except BanditdError as error:
            self._logger.warning("%s.failed", self._what, extra={"error": error.message, "code": error.code})
        except Exception:
            self._logger.exception("%s.crashed", self._what)

    async def _run(self) -> None:
        while True:
            await _either(self._woken, self._every_s)
            self._woken.clear()
            if self._stopped.is_set():
                return
            began_s = perf_counter()
            await self.once()
            await _either(self._stopped, min(self._rests * (perf_counter() - began_s), LONGEST_REST_S))


async def _either(event: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)
