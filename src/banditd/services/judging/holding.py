"""Answers that somebody wants to store: they wait a moment in memory, bounded, and are stored together.

What is stored of them is read in a thread. Nobody waits for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, TypeVar

from banditd.core.errors import UnavailableError
from banditd.services.gateway.listening import Answered
from banditd.services.patience import patiently

T = TypeVar("T")
logger = logging.getLogger(__name__)
MOST_HELD: Final = 64
"""Answers in memory; more come only where the database does not answer, and are dropped."""
TOGETHER_S: Final = 0.05
TRY_AGAIN_S: Final = (0.5, 2.0)


class Holding(Generic[T]):
    """Takes answers, makes something of them, stores that.

    read : runs in a thread. store : may be called again after UnavailableError. lost : is told what was not stored in
    the end.
    """

    def __init__(
        self,
        name: str,
        *,
        read: Callable[[Sequence[Answered]], list[T]],
        store: Callable[[list[T]], Awaitable[None]],
        lost: Callable[[list[T]], None],
    ) -> None:
        self._name = name
        self._read = read
        self._store = store
        self._lost = lost
        self._held: list[Answered] = []
        self._storing: asyncio.Task[None] | None = None

    def take(self, answered: Answered) -> bool:
        """Keep an answer until it is stored; False where there is no room."""
        if len(self._held) >= MOST_HELD:
            return False
        self._held.append(answered)
        if self._storing is None or self._storing.done():
            self._storing = asyncio.get_running_loop().create_task(self._store_all(), name=f"{self._name}:sample")
        return True

    async def close(self) -> None:
        """Store what is held."""
        while self._storing is not None and not self._storing.done():
            await asyncio.wait((self._storing,))

    async def _store_all(self) -> None:
        await asyncio.sleep(TOGETHER_S)
        while self._held:
            held, self._held = self._held, []
            count = len(held)
            try:
                found = await asyncio.to_thread(self._read, held)
                held.clear()  # requests may be large, and the database may be away
                if found:
                    await self._put(found)
            except Exception:
                # The next ones must not wait behind a bug: these are lost, and the log shows it.
                logger.exception("%s.sampling_crashed", self._name, extra={"answers": count})

    async def _put(self, found: list[T]) -> None:
        try:
            await patiently(lambda: self._store(found), TRY_AGAIN_S)
        except UnavailableError as error:
            logger.warning("%s.not_sampled", self._name, extra={"answers": len(found), "code": error.code})
            self._lost(found)
