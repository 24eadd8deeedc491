"""Real processes: a daemon started as a user starts it, on a free port, with a database of its own."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from banditd.cli.process import start_daemon, stop_daemon, wait_until_serving

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # the chaos tests drive the same code as `make chaos`, which lives in bench/

QUICK = {"BANDITD_LEARNER__LEASE_S": "1", "BANDITD_LEARNER__POLL_S": "0.1", "BANDITD_LEARNER__PAUSE_MS": "1"}


@dataclass(frozen=True)
class Running:
    """A daemon that serves."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def stop(self) -> int:
        return stop_daemon(self.process)


Start = Callable[..., Running]


async def until(true: Callable[[], Awaitable[bool]]) -> None:
    """Ask again and again until it holds. What never holds is stopped by whoever runs the tests."""
    while not await true():  # noqa: ASYNC110 - the other side is a process: it cannot set an event
        await asyncio.sleep(0.05)


@pytest.fixture
def start(tmp_path: Path, sqlite_template: Path) -> Iterator[Start]:
    """Starts daemons, on a migrated database; whatever still runs at the end of the test is stopped."""
    shutil.copyfile(sqlite_template, tmp_path / "banditd.db")
    running: list[Running] = []

    def run(*, database: str | None = None, config: Path = ROOT / "config.yaml", **environment: str) -> Running:
        log = tmp_path / f"daemon-{len(running)}.log"
        process = start_daemon(
            database=database or f"sqlite:///{tmp_path}/banditd.db",
            config=config,
            log=log,
            environment={**QUICK, **environment},
        )
        daemon = Running(url="", process=process, log=log)
        running.append(daemon)
        daemon = Running(url=wait_until_serving(process), process=process, log=log)
        running[-1] = daemon
        return daemon

    yield run
    for daemon in running:
        stop_daemon(daemon.process)
