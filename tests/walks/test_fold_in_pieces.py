"""A batch is folded in pieces, and nobody sees or keeps what is folded by half."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

import pytest
from tests.walks.conftest import OpenDaemon, leads
from tests.walks.test_reward_walk import learned, refolded, reward, route

from banditd.core import pace
from banditd.daemon.open import Daemon
from banditd.ports import FoldItem
from banditd.services.learning.learner import Learner

N = 12


async def decided(daemon: Daemon) -> list[str]:
    return [await route(daemon, text=f"question {n}") for n in range(N)]


async def corrected(daemon: Daemon, decisions: list[str]) -> None:
    """Rewards that are folded, then corrections of them all that wait."""
    for one in decisions:
        await reward(daemon, one, 0.25)
    await daemon.learner.drained()
    await daemon.learner.stop()
    for one in decisions:
        await reward(daemon, one, 0.75)


def at_each_pause(monkeypatch: pytest.MonkeyPatch, does: Callable[[Learner, str, int], Awaitable[None]]) -> None:
    """Between any two pieces of a fold; 1, 2, ... in each."""
    folding: list[tuple[Learner, str]] = []
    pauses, fold = 0, Learner._fold

    async def noting(learner: Learner, name: str, items: list[FoldItem]) -> None:
        nonlocal pauses
        folding.append((learner, name))
        pauses = 0
        try:
            await fold(learner, name, items)
        finally:
            folding.clear()

    async def step(_: pace.Pace) -> None:
        nonlocal pauses
        if folding and asyncio.current_task() is folding[0][0]._task:
            pauses += 1
            await does(*folding[0], pauses)
        await asyncio.sleep(0)

    monkeypatch.setattr(Learner, "_fold", noting)
    monkeypatch.setattr(pace.Pace, "step", step)


async def test_others_run_while_a_batch_is_folded_and_see_what_was_before_it(
    open_daemon: OpenDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_daemon() as daemon:
        await corrected(daemon, await decided(daemon))
    seen: list[tuple[int, int]] = []

    async def look(learner: Learner, name: str, _: int) -> None:
        runtime = learner._runtimes[name]
        stored = await learner._store.versions({name: runtime.builder.schema.hash})
        seen.append((runtime.view.snapshot.version, stored[name]))

    at_each_pause(monkeypatch, look)
    async with open_daemon() as daemon:
        before = daemon.runtimes["default"].view.snapshot.version
        assert await learned(daemon) == (float(N), pytest.approx(0.75 * N))
        assert len(seen) >= N
        assert set(seen) == {(before, before)}
        assert (await refolded(daemon)).agrees


async def test_a_lease_that_is_lost_amid_a_fold_is_handed_over_without_a_trace(
    open_daemon: OpenDaemon, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_daemon() as daemon:
        await corrected(daemon, await decided(daemon))
    taken = False

    async with open_daemon() as daemon:
        leases = daemon.storage.leases

        async def take(learner: Learner, _: str, pauses: int) -> None:
            nonlocal taken
            if pauses == N // 2 and not taken:
                taken = True
                await leases.release("learner", learner._lease.holder)
                assert await leases.acquire("learner", "another", ttl_s=0.2, now_us=learner._clock.now_us())

        at_each_pause(monkeypatch, take)
        await leads(daemon)
        assert await learned(daemon) == (float(N), pytest.approx(0.75 * N))
        assert taken
        assert (await refolded(daemon)).agrees
    [record] = [one for one in caplog.records if one.getMessage() == "learner.handed_over"]
    assert record.levelno == logging.WARNING
    assert record.exc_info is None
    assert not [one for one in caplog.records if one.levelno >= logging.ERROR]


async def test_what_was_folded_before_a_failure_amid_a_batch_is_forgotten(
    open_daemon: OpenDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_daemon() as daemon:
        await corrected(daemon, await decided(daemon))
    failed: list[object] = []

    async def fail(learner: Learner, name: str, pauses: int) -> None:
        if pauses == N // 2 and not failed:
            failed.append(learner._runtimes[name].learned)
            raise ZeroDivisionError

    at_each_pause(monkeypatch, fail)
    async with open_daemon() as daemon:
        assert await learned(daemon) == (float(N), pytest.approx(0.75 * N))
        assert failed
        assert daemon.runtimes["default"].learned is not failed[0]
        assert (await refolded(daemon)).agrees
