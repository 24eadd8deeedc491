"""An arm that degrades, through the real parts: found, shown, logged, counted; a restart and a refold agree."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable

import numpy as np
import pytest
from tests.walks.conftest import OpenDaemon
from tests.walks.test_reward_walk import refolded, reward, route

from banditd.daemon.open import Daemon

GOOD, BAD = 0.8, 0.2
FORMS = (
    "what is the history of {}?",
    "tell me about {}",
    "who wrote the best book on {}",
    "how many {} are there in Spain",
    "is it true that {} are dangerous",
    "explain {} to a child in two sentences",
)
TOPICS = ("rivers", "planets", "music", "birds", "bread", "wars", "clouds", "bicycles", "chess", "tea", "volcanoes")


def usual(generator: np.random.Generator) -> str:
    return str(generator.choice(FORMS)).format(generator.choice(TOPICS))


def other(generator: np.random.Generator) -> str:
    """Of another topic and another form."""
    n = int(generator.integers(1000))
    return f"def f_{n}(xs):\n    return [x ** {n % 9} for x in xs if x != {n}]\n# fix the TypeError in `f_{n}`"


async def send(daemon: Daemon, n: int, level: float, generator: np.random.Generator) -> None:
    for start in range(0, n, 10):
        for i in range(start, min(n, start + 10)):
            decision_id = await route(daemon, text=f"question number {i}")
            await reward(daemon, decision_id, float(np.clip(level + 0.1 * generator.normal(), 0, 1)))
        await daemon.learner.drained()


async def send_many(
    daemon: Daemon, n: int, level: float, generator: np.random.Generator, text: Callable[[np.random.Generator], str]
) -> None:
    """As ``send``, with texts of a kind, 20 at a time: hundreds are too slow one by one."""
    for start in range(0, n, 20):
        texts = [text(generator) for _ in range(start, min(n, start + 20))]
        values = np.clip(level + 0.1 * generator.normal(size=len(texts)), 0, 1)
        ids = await asyncio.gather(*(route(daemon, text=t) for t in texts))
        await asyncio.gather(*(reward(daemon, i, float(v)) for i, v in zip(ids, values, strict=True)))
        await daemon.learner.drained()


def query_drift(daemon: Daemon) -> float:
    """The value of the policy's gauge."""
    shown = daemon.metrics.render().decode()
    [value] = re.findall(r'^banditd_query_drift\{policy="default"\} (\S+)$', shown, re.MULTILINE)
    return float(value)


async def caught_up(follower: Daemon, leader: Daemon) -> None:
    wanted = leader.runtimes["default"].view.snapshot.version
    while follower.runtimes["default"].view.snapshot.version != wanted:  # noqa: ASYNC110 - it polls
        await asyncio.sleep(0.02)


async def changes_of(daemon: Daemon) -> list[tuple[str, str, str]]:
    stats = await daemon.services.reports.stats("default", None)
    return [(c["arm"], c["kind"], c["direction"]) for c in stats["changes"]]  # type: ignore[index, attr-defined]


async def shown_change(daemon: Daemon) -> dict[str, object] | None:
    view = await daemon.services.arms.get("default", "small")
    return view.statistics["change"]  # type: ignore[return-value]


async def test_a_degraded_arm_is_shown_until_it_recovers(
    open_daemon: OpenDaemon, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "banditd.services.learning")
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
        assert query_drift(daemon) == 0.0  # too few queries to tell
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
        while not await changes_of(follower):  # noqa: ASYNC110 - it polls
            await asyncio.sleep(0.02)
        assert await changes_of(follower) == await changes_of(leader) == [("small", "changed", "down")]
        assert follower.runtimes["default"].view.snapshot.probe_share is not None


async def test_an_arm_that_fails_at_other_queries_is_said_to_on_every_replica(open_daemon: OpenDaemon) -> None:
    generator = np.random.default_rng(0)
    policy = {"kind": "fixed", "options": {"arm": "small"}, "exploration_floor": 0.0}
    async with open_daemon(**policy) as leader, open_daemon(**policy) as follower:
        for _ in range(7):
            await send_many(leader, 100, GOOD, generator, usual)
            assert query_drift(leader) < 4.0
        await caught_up(follower, leader)
        assert query_drift(follower) == query_drift(leader)
        await send_many(leader, 20, GOOD, generator, other)
        assert query_drift(leader) >= 4.0
        assert await changes_of(leader) == []  # what moved so far is the queries, not the arm
        await send_many(leader, 60, BAD, generator, other)
        await caught_up(follower, leader)
        for daemon in (leader, follower):
            assert query_drift(daemon) == query_drift(leader) >= 4.0
            change = await shown_change(daemon)
            assert change is not None
            assert (change["direction"], change["queries_moved"]) == ("down", True)
            stats = await daemon.services.reports.stats("default", None)
            assert [(c["kind"], c["queries_moved"]) for c in stats["changes"]] == [("changed", True)]  # type: ignore[index, attr-defined]
            probes = daemon.runtimes["default"].view.snapshot.probe_share
            assert probes is not None
            assert not probes.any()  # there is no return to wait for
        assert change == await shown_change(leader)


async def test_an_arm_that_fails_at_the_usual_queries_is_awaited(open_daemon: OpenDaemon) -> None:
    generator = np.random.default_rng(0)
    async with open_daemon(kind="fixed", options={"arm": "small"}, exploration_floor=0.0) as daemon:
        await send_many(daemon, 640, GOOD, generator, usual)
        assert await changes_of(daemon) == []
        await send_many(daemon, 40, BAD, generator, usual)
        assert query_drift(daemon) < 4.0
        change = await shown_change(daemon)
        assert change is not None
        assert (change["direction"], change["queries_moved"]) == ("down", False)
        probes = daemon.runtimes["default"].view.snapshot.probe_share
        assert probes is not None
        assert probes.max() > 0.0
