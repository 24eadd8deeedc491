"""A step that is repeated in the background for as long as the daemon runs."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Final

from banditd.core.errors import BanditdError

LONGEST_REST_S: Final = 0.5  # so that what the loop maintains stays current even on a busy machine


class Loop:
    """One background task. It survives errors: they are logged as ``<what>.failed``, bugs as ``<what>.crashed``.

    every_s : seconds between steps, unless it is woken.
    rests : after a step the loop pauses for this many times the step's duration, but at most half a second.
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
        """Start the task; the first step comes after ``every_s``."""
        self._task = asyncio.create_task(self._run(), name=self._name)

    def wake(self) -> None:
        """Take the next step at once."""
        self._woken.set()

    async def stop(self) -> None:
        """Stop after the present step."""
        self._stopped.set()
        self._woken.set()
        if self._task is not None:
            await self._task

    async def once(self) -> None:
        """Take one step now; errors are logged."""
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
