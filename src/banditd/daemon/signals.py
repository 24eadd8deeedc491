"""Signals in the event loop, also where the loop cannot take them (Windows)."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from types import FrameType
from typing import Final

STOP: Final = ("SIGTERM", "SIGINT", "SIGBREAK")
"""Any of these ends the daemon; a platform has those that it has."""
RELOAD: Final = ("SIGHUP",)


def on_signals(loop: asyncio.AbstractEventLoop, names: tuple[str, ...], handle: Callable[[], None]) -> None:
    """Call ``handle`` in the loop at each of the signals that this platform has."""
    for name in names:
        number = getattr(signal, name, None)
        if number is None:
            continue
        try:
            loop.add_signal_handler(number, handle)
        except NotImplementedError:
            signal.signal(number, _from_outside(loop, handle))


def _from_outside(
    loop: asyncio.AbstractEventLoop, handle: Callable[[], None]
) -> Callable[[int, FrameType | None], None]:
    def handler(_number: int, _frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(handle)

    return handler
