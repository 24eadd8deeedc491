"""Do long work on the event loop in small pieces, so that other tasks wait no longer than one piece takes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from time import perf_counter
from typing import Final, TypeVar

_Item = TypeVar("_Item")
_Made = TypeVar("_Made")

HOLD_S: Final = 0.003
"""How long one piece may hold the event loop before others get a turn."""
TURNS: Final = 4
"""Turns of the event loop left to others after each piece: a request is read in one and handled in those that
follow.
"""


class Pace:
    """Paces one long job made of many small steps: await ``step`` between them."""

    __slots__ = ("_since",)

    def __init__(self) -> None:
        self._since = perf_counter()

    async def step(self) -> None:
        """Let other tasks run if this job has held the loop for ``HOLD_S``."""
        if perf_counter() - self._since > HOLD_S:
            for _ in range(TURNS):
                await asyncio.sleep(0)
            self._since = perf_counter()

    async def through(self, pieces: Iterable[None]) -> None:
        """Run a generator of small steps to its end, letting other tasks run in between."""
        for _ in pieces:
            await self.step()


async def paced_map(function: Callable[[_Item], _Made], items: Iterable[_Item]) -> list[_Made]:
    """``function`` of every item, in order, letting other tasks run in between."""
    made, pace = [], Pace()
    for item in items:
        made.append(function(item))
        await pace.step()
    return made


class SharedPace:
    """Paces one kind of work that many tasks do: together they may hold each turn of the loop for ``HOLD_S`` plus one
    step.

    A task that finds the turn used up waits for the next one.
    """

    __slots__ = ("_loop", "_spent_s")

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._spent_s = 0.0

    def has_time(self) -> bool:
        """Whether there is time left in this turn of the loop."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop, self._spent_s = loop, 0.0
            loop.call_soon(self._next_turn)
        return self._spent_s <= HOLD_S

    async def turn(self) -> None:
        """Wait for a turn of the loop that has time left."""
        while not self.has_time():  # noqa: ASYNC110 - the turn of the loop is what is waited for
            await asyncio.sleep(0)

    def spent(self, seconds: float) -> None:
        """Record how long a step took."""
        self._spent_s += seconds

    def _next_turn(self) -> None:
        self._loop = None
