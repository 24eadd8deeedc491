"""Holds answers in memory for a moment, up to a limit, and stores them together.

They are read in a thread. Nobody waits for it.
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
"""Most answers held; there are only more if the database does not respond, and then they are dropped."""
TOGETHER_S: Final = 0.05
TRY_AGAIN_S: Final = (0.5, 2.0)


class Sampling(ABC, Generic[T]):
    """A ``gateway.listening.Listener`` that takes answers, makes something of them, and stores the result.

    Close it after the last answer. count : called with each judge and outcome.
    """

    def __init__(self, name: str, count: Callable[[str, str], None]) -> None:
        self._name = name
        self._count = count
        self._held: list[Answered] = []
        self._storing: asyncio.Task[None] | None = None

    @abstractmethod
    def judges_of(self, decision: Decision) -> list[str]:
        """The judges that get this decision's answer."""

    @abstractmethod
    def read(self, held: Sequence[Answered]) -> list[T]:
        """What to store for these answers; runs in a thread."""

    @abstractmethod
    async def keep(self, found: list[T]) -> None:
        """Store it; may be called again after UnavailableError."""

    def hear(self, answered: Answered) -> None:
        """Hold an answer until it is stored, if there is room."""
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
        """Count an outcome for each of the judges."""
        for judge in judges:
            self._count(judge, outcome)

    async def _store_all(self) -> None:
        await asyncio.sleep(TOGETHER_S)
        while self._held:
            held, self._held = self._held, []
            count = len(held)
            try:
                found = await asyncio.to_thread(self.read, held)
                held.clear()  # free memory: requests may be large, and the database may be unavailable
                if found:
                    await self._put(found)
            except Exception:
                # A bug must not hold up later answers: these ones are lost, and the log says so.
                logger.exception("%s.sampling_crashed", self._name, extra={"answers": count})

    async def _put(self, found: list[T]) -> None:
        try:
            await patiently(lambda: self.keep(found), TRY_AGAIN_S)
        except UnavailableError as error:
            logger.warning("%s.not_sampled", self._name, extra={"answers": len(found), "code": error.code})
            self.count("dropped", [one.judge for one in found])
