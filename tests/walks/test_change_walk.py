"""An arm that degrades, through the real parts: found, shown, logged, counted; a restart and a refold agree."""

from __future__ import annotations

import asyncio
import logging

import numpy as np
import pytest
from tests.walks.conftest import OpenDaemon
from tests.walks.test_reward_walk import refolded, reward, route

from banditd.bootstrap import Daemon

GOOD, BAD = 0.8, 0.2


async def send(daemon: Daemon, n: int, level: float, generator: np.random.Generator) -> None:
    for start in range(0, n, 10):
        for i in range(start, min(n, start + 10)):
            decision_id = await route(daemon, text=f"question number {i}")
            await reward(daemon, decision_id, float(np.clip(level + 0.1 * generator.normal(), 0, 1)))
        await daemon.learner.drained()


async def changes_of(daemon: Daemon) -> list[tuple[str, str, str]]:
    stats = await daemon.services.reports.stats("default", None)
    return [(c["arm"], c["kind"], c["direction"]) for c in stats["changes"]]  # type: ignore[index, attr-defined]


async def shown_change(daemon: Daemon) -> dict[str, object] | None:
    view = await daemon.services.arms.get("default", "small")
    return view.statistics["change"]  # type: ignore[return-value]


async def test_a_degraded_arm_is_shown_until_it_recovers(
    open_daemon: OpenDaemon, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "banditd.services.learner")
    generator = np.random.default_rng(0)
    policy = {"kind": "fixed", "options": {"arm": "small"}, "exploration_floor": 0.0}
    async with open_daemon(**policy) as daemon:
        await send(daemon, 60, GOOD, generator)
        assert await changes_of(daemon) == []
        assert await shown_change(daemon) is None
        await send(daemon, 30, BAD, generator)
        assert await changes_of(daemon) == [("small", "changed", "down")]
        change = await shown_change(daemon)
        assert change is not None
        assert change["at"] is not None
        assert change["old_level"] == pytest.approx(GOOD, abs=0.15)  # type: ignore[comparison-overlap]
        assert change["queries_moved"] is False
        assert change["new_level"] == pytest.approx(BAD, abs=0.15)  # type: ignore[comparison-overlap]
        metrics = daemon.metrics.render().decode()
        assert 'banditd_change_alarms_total{arm="small",direction="down",policy="default"} 1.0' in metrics
        assert 'banditd_arm_changed{arm="small",policy="default"} 1.0' in metrics
        assert 'banditd_query_drift{policy="default"}' in metrics
        assert 'banditd_arm_changed{arm="large",policy="default"} 0.0' in metrics
        assert (await refolded(daemon)).agrees
    [record] = [r for r in caplog.records if r.message == "arm.changed"]
    assert (record.levelname, record.arm, record.direction) == ("WARNING", "small", "down")  # type: ignore[attr-defined]
    async with open_daemon(**policy) as daemon:
        assert await changes_of(daemon) == [("small", "changed", "down")]
        assert (await shown_change(daemon)) == change
        probes = daemon.runtimes["default"].view.snapshot.probe_share
        assert probes is not None
        assert probes.max() > 0.0
        await send(daemon, 40, GOOD, generator)
        assert await changes_of(daemon) == [("small", "recovered", "down"), ("small", "changed", "down")]
        assert await shown_change(daemon) is None
        assert (await refolded(daemon)).agrees
    assert [r.levelname for r in caplog.records if r.message == "arm.recovered"] == ["INFO"]
    async with open_daemon(**policy) as daemon:
        assert len(await changes_of(daemon)) == 2


async def test_switched_off_nothing_is_found(open_daemon: OpenDaemon) -> None:
    generator = np.random.default_rng(0)
    async with open_daemon(kind="fixed", options={"arm": "small"}, change_detection=False) as daemon:
        await send(daemon, 50, GOOD, generator)
        await send(daemon, 30, BAD, generator)
        assert await changes_of(daemon) == []


async def test_a_second_replica_is_told_of_the_change(open_daemon: OpenDaemon) -> None:
    generator = np.random.default_rng(0)
    policy = {"kind": "fixed", "options": {"arm": "small"}, "exploration_floor": 0.0}
    async with open_daemon(**policy) as leader, open_daemon(**policy) as follower:
        await send(leader, 60, GOOD, generator)
        await send(leader, 30, BAD, generator)
        for _ in range(200):
            if await changes_of(follower):
                break
            await follower.learner.drained()
            await asyncio.sleep(0.02)
        assert await changes_of(follower) == await changes_of(leader) == [("small", "changed", "down")]
        assert follower.runtimes["default"].view.snapshot.probe_share is not None
