"""What the learner does when the database fails it: nothing twice, nothing lost."""

from __future__ import annotations

import asyncio
import dataclasses
import threading

import pytest
from tests.walks.conftest import OpenDaemon
from tests.walks.test_reward_walk import learned, refolded, reward, route

from banditd.bandit.posterior.evidence import TuningTask
from banditd.bandit.posterior.hyperparameters import Hyperparameters
from banditd.core.errors import LeaseLostError, StorageUnavailableError
from banditd.ports import FoldCommit
from banditd.storage.partitions.layout import SPAN_US


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("error", [StorageUnavailableError, LeaseLostError, RuntimeError])
async def test_a_commit_that_fails_is_neither_lost_nor_counted_twice(
    open_daemon: OpenDaemon, monkeypatch: pytest.MonkeyPatch, moment: str, error: type[Exception]
) -> None:
    async with open_daemon() as daemon:
        commit = daemon.storage.learning.commit
        failures = 0

        async def flaky(fold: FoldCommit, *, holder: str) -> None:
            nonlocal failures
            if fold.contributions and failures < 2:
                failures += 1
                if moment == "after":  # committed, but the answer was lost
                    await commit(fold, holder=holder)
                raise error("the database went away")
            await commit(fold, holder=holder)

        monkeypatch.setattr(daemon.storage.learning, "commit", flaky)
        for value in (0.25, 0.75):
            await reward(daemon, await route(daemon), value)
        assert await learned(daemon) == (2.0, pytest.approx(1.0))
        assert failures >= 1
        assert (await refolded(daemon)).agrees


async def test_an_arm_added_and_deleted_at_run_time_leaves_the_others_alone(open_daemon: OpenDaemon) -> None:
    async with open_daemon() as daemon:
        await reward(daemon, await route(daemon, candidates=("small",)), 1.0)
        await daemon.learner.drained()
        before = await daemon.storage.learning.load("default", daemon.runtimes["default"].builder.schema.hash)
        [small] = [view for view in await daemon.services.arms.list("default") if view.arm.arm == "small"]
        await daemon.services.arms.add(dataclasses.replace(small.arm, arm="newcomer"))
        assert "newcomer" in daemon.runtimes["default"].view.index
        await daemon.services.arms.patch("default", "newcomer", {"enabled": False})
        await daemon.services.arms.delete("default", "newcomer")
        assert "newcomer" not in daemon.runtimes["default"].view.index
        after = await daemon.storage.learning.load("default", daemon.runtimes["default"].builder.schema.hash)
        assert [s.sums for s in after.segments] == [s.sums for s in before.segments]
    async with open_daemon() as daemon:
        assert "newcomer" not in daemon.runtimes["default"].view.index


async def test_an_arm_deleted_over_the_api_does_not_come_back_from_the_configuration(open_daemon: OpenDaemon) -> None:
    async with open_daemon() as daemon:
        await daemon.services.arms.delete("default", "vision")
        await daemon.services.arms.patch("default", "small", {"expected_output_tokens": 99.0})
    async with open_daemon() as daemon:
        assert set(daemon.runtimes["default"].view.index) == {"small", "large"}
        assert (await daemon.services.arms.get("default", "small")).arm.expected_output_tokens == 99.0


async def test_retention_deletes_the_log_and_keeps_what_was_learned(open_daemon: OpenDaemon) -> None:
    async with open_daemon() as daemon:
        decision_id = await route(daemon)
        await reward(daemon, decision_id, 0.5)
        await daemon.learner.drained()
        maintenance = daemon.jobs._jobs["retention"].run.__self__  # type: ignore[attr-defined]
        maintenance._retention_us = -4 * SPAN_US  # as if so long had passed: a partition goes as a whole
        await daemon.jobs.run_now("retention")
        assert await daemon.storage.decisions.get(decision_id) is None
        assert await learned(daemon) == (1.0, pytest.approx(0.5))
        report = await refolded(daemon)
        assert (report.decisions, report.complete_log) == (0, False)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, threading.Event]:
    """Fits of the evidence wait: (set when one has begun, to be set for them to go on)."""
    begun, go_on = threading.Event(), threading.Event()
    run = TuningTask.run

    def wait(task: TuningTask) -> Hyperparameters:
        begun.set()
        go_on.wait()
        return run(task)

    monkeypatch.setattr(TuningTask, "run", wait)
    return begun, go_on


async def test_folding_goes_on_while_the_evidence_is_fitted(
    open_daemon: OpenDaemon, held: tuple[threading.Event, threading.Event]
) -> None:
    begun, go_on = held
    async with open_daemon() as daemon:
        runtime = daemon.runtimes["default"]
        try:
            for i in range(22):
                await reward(daemon, await route(daemon), i % 2)
            while not begun.is_set():  # noqa: ASYNC110 - set in the thread of the fit
                await asyncio.sleep(0.01)
            scales, version = runtime.learned.hyperparameters_json(), runtime.view.snapshot.version
            await reward(daemon, await route(daemon), 1.0)
            while runtime.view.snapshot.version == version:  # noqa: ASYNC110 - published by the learner
                await asyncio.sleep(0.01)
            # Arms are adopted too: the arm service waits for nobody who fits.
            await daemon.learner.refresh_arms()
            assert runtime.learned.hyperparameters_json() == scales
        finally:
            go_on.set()
        assert await learned(daemon) == (23.0, pytest.approx(12.0))
        assert runtime.learned.hyperparameters_json() != scales
        stored = await daemon.storage.learning.load("default", runtime.builder.schema.hash)
        assert stored.hyperparameters == runtime.learned.hyperparameters_json()
        assert (await refolded(daemon)).agrees


async def test_a_fit_of_a_state_that_was_read_anew_is_dropped(
    open_daemon: OpenDaemon, held: tuple[threading.Event, threading.Event]
) -> None:
    begun, go_on = held
    async with open_daemon() as daemon:
        try:
            for i in range(22):
                await reward(daemon, await route(daemon), i % 2)
            while not begun.is_set():  # noqa: ASYNC110 - set in the thread of the fit
                await asyncio.sleep(0.01)
            before = daemon.runtimes["default"].learned
            daemon.learner._stale.add("default")
            daemon.learner.wake()
            while daemon.runtimes["default"].learned is before:  # noqa: ASYNC110 - read by the learner
                await asyncio.sleep(0.01)
            scales = before.hyperparameters_json()
        finally:
            go_on.set()
        await daemon.learner.drained()
        assert before.hyperparameters_json() == scales
        assert await learned(daemon) == (22.0, pytest.approx(11.0))
        assert (await refolded(daemon)).agrees
