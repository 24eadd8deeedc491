"""Retrying work while the database is briefly unavailable."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final, TypeVar

from banditd.core.errors import UnavailableError

T = TypeVar("T")
AGAIN_S: Final = (0.5, 2.0, 8.0)
"""Pauses before each retry, in seconds, so that work that was paid for survives a short outage."""


async def patiently(work: Callable[[], Awaitable[T]], again_s: Sequence[float] | None = None) -> T:
    """Do ``work``, and retry after pauses while the database is unavailable.

    Raises UnavailableError if it stays so.
    """
    for wait_s in AGAIN_S if again_s is None else again_s:
        try:
            return await work()
        except UnavailableError:
            await asyncio.sleep(wait_s)
    return await work()


async def together(works: Iterable[Awaitable[object]]) -> None:
    """Do them concurrently, wait until all have ended, then raise the first error."""
    for outcome in await asyncio.gather(*works, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome
