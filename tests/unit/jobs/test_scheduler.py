"""When jobs run, whatever the wall clock does meanwhile."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from unittest.mock import AsyncMock, MagicMock

import pytest

from banditd.jobs import scheduler as module
from banditd.jobs.scheduler import Job, JobScheduler


@pytest.mark.parametrize("hours", [0.0, 3.0])
async def test_jobs_go_on_although_the_wall_clock_is_set_back(monkeypatch: pytest.MonkeyPatch, hours: float) -> None:
    """A job that was planned by a clock hours ahead would wait for hours; without a step nothing is planned anew."""
    ahead_s, runs = hours * 3600.0, asyncio.Queue[None]()
    monkeypatch.setattr(module, "WATCH_EVERY_S", 0.01)
    monkeypatch.setattr(module, "time", lambda: time.time() + ahead_s)
    job = Job(name="one", run=lambda: runs.put(None), interval_s=60.0, everywhere=True)
    jobs = JobScheduler(
        [job], leases=AsyncMock(), store=AsyncMock(), clock=MagicMock(), metrics=MagicMock(), holder="here"
    )
    jobs.start()
    try:
        await runs.get()  # at the start
        jobs._scheduler.modify_job("one", next_run_time=datetime.now(UTC) + timedelta(hours=3))
        await asyncio.sleep(0.1)
        assert runs.empty()
        ahead_s = 0.0  # the clock is set right
        if hours:
            await runs.get()
        else:
            await asyncio.sleep(0.1)
            assert runs.empty(), "nothing was set back"
    finally:
        await jobs.close()
