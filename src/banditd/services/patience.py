"""Work that is asked for again while the database is away for a moment."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final, TypeVar

from banditd.core.errors import UnavailableError

T = TypeVar("T")
AGAIN_S: Final = (0.5, 2.0, 8.0)
"""Seconds before each further try: what was paid for is not lost for a moment's trouble."""


async def patiently(work: Callable[[], Awaitable[T]], again_s: Sequence[float] | None = None) -> T:
    """Once more after a pause while the database is away. Raises UnavailableError where it stays so."""
    for wait_s in AGAIN_S if again_s is None else again_s:
        try:
            return await work()
        except UnavailableError:
            await asyncio.sleep(wait_s)
    return await work()


async def together(works: Iterable[Awaitable[object]]) -> None:
    """Do them at the same time. What one of them raises is raised when all have ended."""
    for outcome in await asyncio.gather(*works, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome
