"""Signals where the loop can take them, and where it cannot."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from banditd.daemon.signals import on_signals


def _cannot(*_: object) -> None:
    raise NotImplementedError


@pytest.mark.parametrize("able", [True, False])
async def test_a_signal_reaches_the_loop(able: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    loop, came = asyncio.get_running_loop(), asyncio.Event()
    before = signal.getsignal(signal.SIGUSR1)
    if not able:
        monkeypatch.setattr(type(loop), "add_signal_handler", _cannot)
    try:
        on_signals(loop, ("SIGNONE", "SIGUSR1"), came.set)
        os.kill(os.getpid(), signal.SIGUSR1)
        await came.wait()
    finally:
        if able:
            loop.remove_signal_handler(signal.SIGUSR1)
        signal.signal(signal.SIGUSR1, before)
