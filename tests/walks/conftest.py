"""A whole daemon without HTTP, over a real database."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.leaks import Leaks
from tests.patience import PATIENT

from banditd.daemon.open import Daemon, open_services
from banditd.daemon.workbench import SystemClock
from banditd.settings import Settings

ARMS = [
    {"arm": "small", "price": {"usd_per_mtok_in": 0.1, "usd_per_mtok_out": 0.4}},
    {"arm": "large", "price": {"usd_per_mtok_in": 3.0, "usd_per_mtok_out": 15.0}},
    {"arm": "vision", "price": {"usd_per_mtok_in": 1.0, "usd_per_mtok_out": 4.0}, "capabilities": ["vision"]},
]

OpenDaemon = Callable[..., AbstractAsyncContextManager[Daemon]]


def make_settings(
    url: str, *, max_batch: int = 256, upstreams: dict[str, Any] | None = None, **policy: Any
) -> Settings:
    return Settings(
        database={"url": url, **PATIENT},
        learner={"pause_ms": 0, "poll_s": 0.05, "lease_s": 2, "max_batch": max_batch},
        upstreams=upstreams or {},
        policies={"default": {"arms": ARMS, **policy}, "other": {"kind": "uniform", "arms": ARMS[:2]}},
    )


@pytest.fixture
def leaks(tmp_path: Path) -> Leaks:
    """Fails a test whose daemons leave a task, a thread or an open file behind."""
    return Leaks(tmp_path)


@pytest.fixture
def open_daemon(database_url: str, leaks: Leaks) -> OpenDaemon:
    """``async with open_daemon(default_reward=...)``: the same database every time within a test."""

    @asynccontextmanager
    async def opened(
        *, start_jobs: bool = False, upstreams: dict[str, Any] | None = None, **policy: Any
    ) -> AsyncIterator[Daemon]:
        settings = make_settings(database_url, upstreams=upstreams, **policy)
        with leaks.around():
            async with open_services(settings, start_jobs=start_jobs) as daemon:
                yield daemon

    return opened


async def leads(daemon: Daemon) -> None:
    """Wait until this replica holds the learner's lease."""
    while not daemon.learner.leader:  # noqa: ASYNC110 - the lease is taken inside the learner's loop
        await asyncio.sleep(0.01)


class ShiftedClock:
    """The machine's clock and ``hours`` more, for every daemon of the test."""

    def __init__(self) -> None:
        self.hours = 0.0

    def now_us(self) -> int:
        return time.time_ns() // 1000 + int(self.hours * 3600e6)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> ShiftedClock:
    shifted = ShiftedClock()
    monkeypatch.setattr(SystemClock, "now_us", lambda _: shifted.now_us())
    return shifted
