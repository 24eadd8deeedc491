"""A clock that was ahead leaves times in the database; none of them is believed beyond what it can mean."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from sqlalchemy import text
from tests.patience import PATIENT
from tests.walks.test_repair import refold

from banditd.core.errors import ConflictError
from banditd.core.types import Query
from banditd.daemon.open import Daemon, open_services
from banditd.daemon.workbench import SystemClock, open_workbench
from banditd.services.learning.lease import LEASE
from banditd.services.learning.progress import Progress
from banditd.services.learning.rebuild import RebuildReport
from banditd.services.walks import RewardInput
from banditd.settings import Settings
from banditd.storage import Storage, open_storage
from banditd.storage.leases import SqlLeaseStore
from banditd.storage.watch import Deadlines

DAY_US = 86_400_000_000
HOUR_US = 3_600_000_000
ARMS = [
    {"arm": "small", "price": {"usd_per_mtok_in": 0.1, "usd_per_mtok_out": 0.4}},
    {"arm": "large", "price": {"usd_per_mtok_in": 3.0, "usd_per_mtok_out": 15.0}},
]

Open = Callable[..., AbstractAsyncContextManager[Daemon]]


def settings_of(url: str, **policy: Any) -> Settings:
    return Settings(
        database={"url": url, **PATIENT},
        learner={"pause_ms": 0, "poll_s": 0.05, "lease_s": 1},
        policies={"default": {"arms": ARMS, **policy}},
    )


@pytest.fixture
def open_daemon(database_url: str) -> Open:
    @asynccontextmanager
    async def opened(**policy: Any) -> AsyncIterator[Daemon]:
        async with open_services(settings_of(database_url, **policy), start_jobs=False) as daemon:
            yield daemon

    return opened


@pytest.fixture
async def storage(database_url: str) -> AsyncIterator[Storage]:
    async with open_storage(database_url, writer_name="test", deadlines=Deadlines(**PATIENT)) as opened:
        yield opened


def now_us() -> int:
    return SystemClock().now_us()


async def routed(daemon: Daemon, **query: Any) -> str:
    made = await daemon.services.routing.route(Query(policy="default", text="a question", **query))
    return made.decision_id


async def reward(daemon: Daemon, decision_id: str) -> None:
    given = RewardInput(decision_id=decision_id, metric="quality", source="metric", value=1.0, body_hash="1")
    await daemon.services.rewards.submit([given])


# ---------------------------------------------------------------- leases


async def test_a_lease_of_a_clock_that_was_ahead_is_not_believed(storage: Storage) -> None:
    now = now_us()
    assert await storage.leases.acquire(LEASE, "ahead", ttl_s=10, now_us=now + DAY_US)
    assert await storage.leases.acquire(LEASE, "right", ttl_s=10, now_us=now)
    assert await storage.leases.expiry(LEASE) == ("right", now + 10_000_000)


@pytest.mark.parametrize("ahead_s", [-3.0, 0.0, 1.5])
async def test_clocks_that_nearly_agree_keep_each_others_leases(storage: Storage, ahead_s: float) -> None:
    now = now_us()
    await storage.leases.acquire(LEASE, "a", ttl_s=10, now_us=now + int(ahead_s * 1e6))
    assert not await storage.leases.acquire(LEASE, "b", ttl_s=10, now_us=now)
    assert await storage.leases.holder(LEASE) == "a"


async def test_a_learner_whose_clock_is_ahead_keeps_the_lease_that_it_renews(storage: Storage) -> None:
    seconds = 0.0
    observer = SqlLeaseStore(storage.database, monotonic_s=lambda: seconds)
    now, ahead = now_us(), now_us() + DAY_US
    assert await observer.acquire(LEASE, "right", ttl_s=10, now_us=now)
    for turn in range(10):  # it takes over at once, for its clock says that the other's lease has ended
        seconds = turn * 3.3
        moved = int(seconds * 1e6)
        assert await storage.leases.acquire(LEASE, "ahead", ttl_s=10, now_us=ahead + moved)
        taken = await observer.acquire(LEASE, "right", ttl_s=10, now_us=now + moved)
        assert taken == (turn == 0)  # the first look cannot know; then it is seen alive
    # It dies: nothing is renewed any more.
    seconds += 3.3
    assert not await observer.acquire(LEASE, "right", ttl_s=10, now_us=now + int(seconds * 1e6))
    seconds += 5.0
    assert await observer.acquire(LEASE, "right", ttl_s=10, now_us=now + int(seconds * 1e6))


async def test_learning_goes_on_after_a_crash_with_a_clock_ahead(open_daemon: Open, storage: Storage) -> None:
    for name in (LEASE, "job:default_rewards", "job:usage_silence", "job:retention"):
        await storage.leases.acquire(name, "dead", ttl_s=10, now_us=now_us() + DAY_US)
    async with open_daemon() as daemon:
        await reward(daemon, await routed(daemon))
        await daemon.learner.drained()
        for job in ("default_rewards", "usage_silence", "retention"):
            await daemon.jobs.run_now(job)
        assert {run["job"] for run in await storage.jobs.runs()} >= {"default_rewards", "usage_silence", "retention"}
        assert daemon.runtimes["default"].view.snapshot.version > 0


# ---------------------------------------------------------------- cursors


async def test_defaults_are_given_again_after_a_cursor_of_tomorrow(open_daemon: Open, storage: Storage) -> None:
    async with open_daemon(reward={"default_reward": 0.0, "window_s": 0.05}) as daemon:
        await daemon.jobs.run_now("default_rewards")
        await storage.jobs.set_cursor("default_rewards:default", now_us() + DAY_US)
        decision_id = await routed(daemon)
        await asyncio.sleep(0.1)
        await daemon.jobs.run_now("default_rewards")
        assert await storage.jobs.cursor("default_rewards:default") <= now_us()
        row = await storage.decisions.get(decision_id)
        assert row is not None
        assert [event["kind"] for event in row["rewards"]] == ["default"]  # type: ignore[attr-defined]


async def test_silent_usage_is_settled_after_a_cursor_of_tomorrow(database_url: str, storage: Storage) -> None:
    settings = settings_of(database_url).model_copy(
        update={"jobs": settings_of(database_url).jobs.model_copy(update={"usage_window_s": 0.05})}
    )
    await storage.jobs.set_cursor("usage_silence:default", now_us() + DAY_US)
    async with open_services(settings, start_jobs=False) as daemon:
        decision_id = await routed(daemon)
        await asyncio.sleep(0.1)
        await daemon.jobs.run_now("usage_silence")
        row = await storage.decisions.get(decision_id)
        assert row is not None
        assert row["usage"] is not None
        assert await storage.jobs.cursor("usage_silence:default") <= now_us()


async def test_a_session_of_tomorrow_moves_on(open_daemon: Open, storage: Storage) -> None:
    async with open_daemon() as daemon:
        await routed(daemon, session_id="s")
        await storage.database.write(
            lambda c: c.execute(text("UPDATE session SET updated_at_us = updated_at_us + 86400000000")) and None
        )
        newest = await routed(daemon, session_id="s", new_session_arm=True)
        stored = await storage.database.read(
            lambda c: c.execute(text("SELECT decision_id, updated_at_us FROM session")).one()
        )
        assert stored.decision_id == newest
        assert stored.updated_at_us <= now_us()


# ---------------------------------------------------------------- rebuild


async def refolded(settings: Settings, *, lease_s: float) -> RebuildReport:
    async with open_workbench(settings) as bench:
        return await refold(bench, write=True, lease_s=lease_s)


@pytest.mark.parametrize("left_us", [DAY_US, 700_000])
async def test_rebuild_writes_though_a_dead_learner_left_its_lease(
    open_daemon: Open, storage: Storage, database_url: str, left_us: int
) -> None:
    async with open_daemon() as daemon:
        await reward(daemon, await routed(daemon))
        await daemon.learner.drained()
    await storage.leases.acquire(LEASE, "dead", ttl_s=left_us / 1e6, now_us=now_us())
    report = await refolded(settings_of(database_url), lease_s=1.0)
    assert report.written
    assert report.agrees
    assert await storage.leases.holder(LEASE) is None


async def test_rebuild_does_not_write_beside_a_learner(open_daemon: Open, database_url: str) -> None:
    async with open_daemon() as daemon:
        await reward(daemon, await routed(daemon))
        await daemon.learner.drained()
        with pytest.raises(ConflictError, match="stop the daemon"):
            await refolded(settings_of(database_url), lease_s=5.0)


# ---------------------------------------------------------------- readiness says so


async def test_readiness_fails_while_rewards_wait_and_nobody_learns(
    open_daemon: Open,
) -> None:
    async with open_daemon() as daemon:
        decision_id = await routed(daemon)
        await daemon.learner.stop()  # as a learner that hangs
        ready, _ = await daemon.health.readiness()
        assert ready  # nothing waits
        await reward(daemon, decision_id)
        seconds = 0.0
        store, schemas = daemon.storage.learning, {"default": daemon.runtimes["default"].builder.schema.hash}
        daemon.learner.progress = Progress(store, schemas, lease_s=1.0, monotonic_s=lambda: seconds)
        seconds = 2.9
        assert (await daemon.health.readiness())[0]
        seconds = 6.5
        ready, parts = await daemon.health.readiness()
        assert not ready
        assert "nobody has learned" in str(parts["learner"])


async def test_a_backlog_that_shrinks_is_no_stall(open_daemon: Open) -> None:
    async with open_daemon() as daemon:
        seconds = 0.0
        store, schemas = daemon.storage.learning, {"default": daemon.runtimes["default"].builder.schema.hash}
        mine = Progress(store, schemas, lease_s=1.0, monotonic_s=lambda: seconds)
        await reward(daemon, await routed(daemon))
        await daemon.learner.drained()
        await daemon.learner.stop()
        await reward(daemon, await routed(daemon))
        seconds = 10.0
        assert await mine.stalled() == []  # the version has moved since
        seconds = 20.0
        assert await mine.stalled() == ["default"]
