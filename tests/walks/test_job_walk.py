"""The background jobs over a real database: who runs them, and what a restart or a move of the clock changes."""

from __future__ import annotations

from typing import Any

import pytest
from tests.walks.conftest import OpenDaemon

from banditd.core.errors import StorageUnavailableError

NAMED = ("default_rewards", "usage_silence", "rollup", "retention", "integrity")


async def test_every_job_runs_again_right_after_a_restart(open_daemon: OpenDaemon) -> None:
    for time in (1, 2):
        async with open_daemon() as daemon:
            for name in NAMED:
                await daemon.jobs.run_now(name)
            runs = {row["job"]: row["runs"] for row in await daemon.storage.jobs.runs()}
            assert runs == dict.fromkeys(NAMED, time)
            holders = {await daemon.storage.leases.holder(f"job:{name}") for name in NAMED}
            assert len(holders) == 1
            assert None not in holders


async def test_closing_leaves_the_leases_of_others_alone(open_daemon: OpenDaemon) -> None:
    async with open_daemon() as second:
        async with open_daemon() as first:
            await first.jobs.run_now("rollup")
            await second.jobs.run_now("retention")
            await first.jobs.run_now("retention")
        assert await second.storage.leases.holder("job:rollup") is None
        assert await second.storage.leases.holder("job:retention") is not None


async def test_a_daemon_closes_though_the_database_takes_no_lease_back(
    open_daemon: OpenDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_daemon() as daemon:
        await daemon.jobs.run_now("rollup")
        asked: list[str] = []

        async def release(name: str, holder: str) -> None:
            asked.append(name)
            raise StorageUnavailableError("gone")

        class Leases:
            def __getattr__(self, name: str) -> Any:
                return release if name == "release" else getattr(daemon.storage.leases, name)

        monkeypatch.setattr(daemon.jobs, "_leases", Leases())
    assert asked == ["job:rollup"]
