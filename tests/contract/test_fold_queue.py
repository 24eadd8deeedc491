"""What has to reach the learner through its queue, whoever writes at the same time and under whichever schema."""

from __future__ import annotations

import asyncio
import threading

import pytest
from sqlalchemy import insert, update

from banditd.core.rewards import Contribution, UsageReport
from banditd.storage.decisions import queue_decisions
from banditd.storage.schema import arm_fold_queue, fold_queue

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


async def test_news_of_other_arms_are_queued_too(leader, make):
    made = make.decision()
    await leader.decisions.append([made])
    queued = {"queue_id": "q", "policy": "default", "decision_id": made.decision_id, "enqueued_at_us": make.now_us}
    await leader.database.write(lambda connection: connection.execute(insert(arm_fold_queue), queued) and None)
    assert await leader.learning.queued([("default", "schema"), ("other", "schema")]) == {"default"}


async def test_what_is_set_aside_waits_for_a_learner_of_its_schema(leader, make):
    ours, theirs = make.decision(make.now_us), make.decision(make.now_us + 1, schema_hash="theirs")
    await leader.decisions.append([ours, theirs])
    await leader.rewards.record([make.reward(one.decision_id) for one in (ours, theirs)], make.judge)
    items = {item.schema_hash: item for item in await leader.learning.claim("default", 10, schema_hash="schema")}
    assert items.keys() == {"schema", "theirs"}
    fold = make.fold(
        contributions={ours.decision_id: PUT},
        queue_ids=items["schema"].queue_ids,
        set_aside={"theirs": items["theirs"].queue_ids},
    )
    await leader.learning.commit(fold, holder="me")
    assert await leader.learning.claim("default", 10, schema_hash="schema") == []
    assert await leader.learning.queue_depth({"default": "schema"}) == 0
    assert await leader.learning.queue_depth({"default": "theirs"}) == await leader.learning.queue_depth() == 1
    [item] = await leader.learning.claim("default", 10, schema_hash="theirs")
    assert (item.decision_id, item.queue_ids) == (theirs.decision_id, items["theirs"].queue_ids)
    # New rewards come behind those, and the limit is one for both.
    await leader.rewards.record([make.reward(one.decision_id, 0.5) for one in (ours, theirs)], make.judge)
    found = await leader.learning.claim("default", 2, schema_hash="theirs")
    assert [item.decision_id for item in found] == [theirs.decision_id, ours.decision_id]
    assert len(found[0].queue_ids) == 2


async def test_pruning_does_not_wait_for_a_learner_that_may_never_come(leader, make):
    new, aside = make.decision(make.now_us), make.decision(make.now_us + 1, schema_hash="theirs")
    await leader.decisions.append([new, aside])
    await leader.rewards.record([make.reward(one.decision_id) for one in (new, aside)], make.judge)
    items = {item.schema_hash: item for item in await leader.learning.claim("default", 10)}
    await leader.learning.commit(make.fold(set_aside={"theirs": items["theirs"].queue_ids}), holder="me")
    assert await leader.maintenance.prune(before_us=make.now_us + 1_000_000, limit=10) == 1
    assert await leader.decisions.get(aside.decision_id) is None
    assert [item.decision_id for item in await leader.learning.claim("default", 10)] == [new.decision_id]
    assert await leader.learning.queue_depth() == 1


async def test_what_an_older_replica_has_set_aside_is_found_by_its_name(leader, make):
    made = make.decision(make.now_us, schema_hash="theirs")
    await leader.decisions.append([made])
    await leader.rewards.record([make.reward(made.decision_id)], make.judge)
    older = update(fold_queue).values(policy="default theirs")
    await leader.database.write(lambda connection: connection.execute(older) and None)
    assert await leader.learning.claim("default", 10, schema_hash="schema") == []
    assert await leader.learning.queue_depth({"default": "schema"}) == 0
    assert await leader.learning.queue_depth({"default": "theirs"}) == 1
    assert await leader.learning.waiting({"default": "theirs"}) == {"default"}
    assert await leader.learning.queued([("default", "theirs"), ("other", "theirs")]) == {"default"}
    assert await leader.learning.queued([("default", "schema")]) == frozenset()
    [item] = await leader.learning.claim("default", 10, schema_hash="theirs")
    assert item.decision_id == made.decision_id
