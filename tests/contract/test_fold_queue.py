"""What has to reach the learner through its queue, whoever writes at the same time and under whichever schema."""

from __future__ import annotations

import asyncio
import threading

import pytest

from banditd.core.types import Contribution, UsageReport
from banditd.storage.decisions import queue_decisions

PUT = Contribution("cheap", 2, 1.0, 1.0)


@pytest.fixture
async def leader(storage, make):
    assert await storage.leases.acquire("learner", "me", ttl_s=30, now_us=make.now_us)
    return storage


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)  # SQLite has one writer at a time
async def test_a_reward_that_crosses_the_report_of_a_fallback_is_folded_again(
    leader, open_replica, make, monkeypatch
):
    reported, commit = threading.Event(), threading.Event()

    def held(*args):
        queue_decisions(*args)
        reported.set()
        commit.wait()

    monkeypatch.setattr("banditd.storage.usage.queue_decisions", held)
    for name in ("cheap", "dear"):
        await leader.arms.add(make.arm(name))
    made = make.decision()
    await leader.decisions.append([made])
    report = UsageReport(decision_id=made.decision_id, served_arm="dear", cost_usd=0.5)
    async with open_replica() as other:
        reporting = asyncio.create_task(other.rewards.report_usage(report, lambda *_: None))
        try:
            await asyncio.to_thread(reported.wait)
            await leader.rewards.record([make.reward(made.decision_id)], make.judge)
            [item] = await leader.learning.claim("default", 10)
            assert item.served_arm is None
            fold = make.fold(contributions={made.decision_id: PUT}, queue_ids=item.queue_ids)
            await leader.learning.commit(fold, holder="me")
        finally:
            commit.set()
        await reporting
    [again] = await leader.learning.claim("default", 10)
    assert (again.contribution, again.served_arm, len(again.events)) == (PUT, "dear", 1)
