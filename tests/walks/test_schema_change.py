"""Rewards of decisions that were made under another feature schema than the learner's."""

from __future__ import annotations

import logging
from contextlib import AsyncExitStack

import pytest
from tests.walks.conftest import OpenDaemon, leads
from tests.walks.test_reward_walk import learned, refolded, reward, route

from banditd.daemon.open import Daemon

NEW = {"caller_features": ["urgency"]}


async def contribution(daemon: Daemon, decision_id: str) -> float | None:
    """The reward that the decision has put into the statistics."""
    row = await daemon.storage.decisions.get(decision_id)
    assert row is not None
    put = row["contribution"]
    return None if put is None else put["reward"]  # type: ignore[index,no-any-return]


async def test_they_wait_for_a_learner_of_their_schema(
    open_daemon: OpenDaemon, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_daemon() as daemon:
        kept, retracted, unrewarded = [await route(daemon) for _ in range(3)]
        await reward(daemon, kept, 0.25)
        receipt = await reward(daemon, retracted, 1.0)
        await daemon.learner.drained()
    caplog.set_level(logging.WARNING, logger="banditd.services.learning.learner")
    async with open_daemon(**NEW) as daemon:
        await reward(daemon, kept, 0.5)
        await daemon.services.rewards.retract(receipt.reward_id)
        await daemon.learner.drained()
        await reward(daemon, unrewarded, 0.75)
        await reward(daemon, await route(daemon, features={"urgency": 0.5}), 0.5)
        await daemon.learner.drained()
        assert [await contribution(daemon, d) for d in (kept, retracted, unrewarded)] == [0.25, 1.0, None]
        report = await refolded(daemon)
        assert (report.decisions, report.skipped) == (1, 3)
        assert report.agrees
        await integrity(daemon)
        await daemon.jobs.run_now("observe")
        assert b"banditd_pending_decisions 0.0" in daemon.metrics.render()
        assert b'banditd_rows{table="queue"} 3.0' in daemon.metrics.render()
    assert [record.message for record in caplog.records].count("reward.schema_differs") == 1
    async with open_daemon() as daemon:  # the way back
        await daemon.learner.drained()
        assert [await contribution(daemon, d) for d in (kept, retracted, unrewarded)] == [0.5, None, 0.75]
        assert (await refolded(daemon)).agrees


async def integrity(daemon: Daemon) -> None:
    await daemon.jobs.run_now("integrity")
    runs = {run["job"]: run for run in await daemon.storage.jobs.runs()}
    assert runs["integrity"]["error"] is None


async def test_an_old_leader_takes_nothing_from_the_replicas_that_replace_it(open_daemon: OpenDaemon) -> None:
    async with AsyncExitStack() as stack:
        old_stack = await stack.enter_async_context(AsyncExitStack())
        old = await old_stack.enter_async_context(open_daemon())
        await leads(old)
        new = await stack.enter_async_context(open_daemon(**NEW))
        mine, theirs = await route(new, features={"urgency": 0.5}), await route(old)
        for decision_id in (mine, theirs):
            await reward(new, decision_id, 0.5)
        await old.learner.drained()
        assert [await contribution(old, d) for d in (mine, theirs)] == [None, 0.5]
        await old_stack.aclose()
        await new.learner.drained()
        assert await contribution(new, mine) == 0.5
        assert (await learned(new))[0] == pytest.approx(2.0)
        assert (await refolded(new)).agrees
