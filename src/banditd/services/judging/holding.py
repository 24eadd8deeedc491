"""Answers that somebody wants to store: they wait a moment in memory, bounded, and are stored together.

What is stored of them is read in a thread. Nobody waits for it.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Generic, TypeVar

from banditd.core.errors import UnavailableError
from banditd.core.judging import AnswerToJudge
from banditd.core.probing import ProbeRequest
from banditd.core.types import Decision
from banditd.services.gateway.listening import Answered
from banditd.services.patience import patiently

T = TypeVar("T", AnswerToJudge, ProbeRequest)
logger = logging.getLogger(__name__)
MOST_HELD: Final = 64
"""Answers in memory; more come only where the database does not answer, and are dropped."""
TOGETHER_S: Final = 0.05
TRY_AGAIN_S: Final = (0.5, 2.0)


class Sampling(ABC, Generic[T]):
    """``gateway.listening.Listener``: takes answers, makes something of them, stores that.

    Close it after the last answer. count : takes each judge and outcome.
    """

    def __init__(self, name: str, count: Callable[[str, str], None]) -> None:
        self._name = name
        self._count = count
        self._held: list[Answered] = []
        self._storing: asyncio.Task[None] | None = None

    @abstractmethod
    def judges_of(self, decision: Decision) -> list[str]:
        """Those that get this decision's answer."""

    @abstractmethod
    def read(self, held: Sequence[Answered]) -> list[T]:
        """What is stored of these answers; runs in a thread."""

    @abstractmethod
    async def keep(self, found: list[T]) -> None:
        """Store it; may be called again after UnavailableError."""

    def hear(self, answered: Answered) -> None:
        """Keep an answer until it is stored, where there is room."""
        if len(self._held) >= MOST_HELD:
            self.count("dropped", self.judges_of(answered.decision))
            return
        self._held.append(answered)
        if self._storing is None or self._storing.done():
            self._storing = asyncio.get_running_loop().create_task(self._store_all(), name=f"{self._name}:sample")

    async def close(self) -> None:
        """Store what is held."""
        while self._storing is not None and not self._storing.done():
            await asyncio.wait((self._storing,))

    def count(self, outcome: str, judges: Iterable[str]) -> None:
        """One for each of them."""
        for judge in judges:
            self._count(judge, outcome)

    async def _store_all(self) -> None:
        await asyncio.sleep(TOGETHER_S)
        while self._held:
            held, self._held = self._held, []
            count = len(held)
            try:
                found = await asyncio.to_thread(self.read, held)
                held.clear()  # requests may be large, and the database may be away
                if found:
                    await self._put(found)
            except Exception:
                # The next ones must not wait behind a bug: these are lost, and the log shows it.
                logger.exception("%s.sampling_crashed", self._name, extra={"answers": count})

    async def _put(self, found: list[T]) -> None:
        try:
            await patiently(lambda: self.keep(found), TRY_AGAIN_S)
        except UnavailableError as error:
            logger.warning("%s.not_sampled", self._name, extra={"answers": len(found), "code": error.code})
            self.count("dropped", [one.judge for one in found])
