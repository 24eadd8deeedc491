from __future__ import annotations

import asyncio

import pytest

from banditd.core.errors import StorageUnavailableError
from banditd.core.rewards import Contribution, UsageReport
from banditd.ports import PRUNED_CURSOR, DecisionFilter
from banditd.storage import head_revision

MINUTE_US = 60_000_000
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US


async def _totals(storage, since_us=0):
    return await storage.reports.arm_totals("default", since_us)


async def _series(storage, since_us, until_us, step_s):
    rows = await storage.reports.timeseries("default", since_us=since_us, until_us=until_us, step_s=step_s)
    return [(row["bucket_at_us"], row["decisions"]) for row in rows if row["arm"] == "cheap"]


async def test_old_buckets_merge_into_hours_and_days_and_no_sum_changes(storage, open_replica, make):
    start = make.now_us - make.now_us % DAY_US
    async with open_replica("second") as other:
        for store in (storage, other):
            await store.decisions.append([make.decision(start + i * 10 * MINUTE_US) for i in range(2 * 6 * 24)])
    before = await _totals(storage)
    days_before = await _series(storage, start, start + 2 * DAY_US, 86_400)

    recent = start + 2 * DAY_US
    assert await storage.maintenance.compact_rollups(recent) == 0
    merged = await storage.maintenance.compact_rollups(recent + DAY_US)
    assert merged > 0
    assert await storage.maintenance.compact_rollups(recent + DAY_US) == 0
    hours = await _series(storage, start, start + DAY_US, 300)
    assert hours == [(start + i * HOUR_US, 12) for i in range(24)]
    # The second day is still in detail.
    assert len(await _series(storage, start + DAY_US, start + 2 * DAY_US, 300)) == 6 * 24

    await storage.maintenance.compact_rollups(start + 60 * DAY_US)
    assert await _series(storage, start, start + 2 * DAY_US, 300) == [(start, 288), (start + DAY_US, 288)]
    assert await _series(storage, start, start + 2 * DAY_US, 86_400) == days_before
    for old, new in zip(before, await _totals(storage), strict=True):
        assert new == pytest.approx(old)


async def test_a_late_increment_to_a_merged_bucket_is_not_lost(storage, make):
    start = make.now_us - make.now_us % DAY_US
    made = make.decision(start)
    await storage.decisions.append([made])
    await storage.maintenance.compact_rollups(start + 5 * DAY_US)
    report = UsageReport(decision_id=made.decision_id, cost_usd=0.5)
    await storage.rewards.report_usage(report, lambda *_: None)
    for _ in range(2):
        [cheap] = [row for row in await _totals(storage) if row["arm"] == "cheap"]
        assert (cheap["decisions"], cheap["spend_usd"]) == (1, 0.5)
        await storage.maintenance.compact_rollups(start + 5 * DAY_US)


async def test_totals_of_writers_that_are_gone_are_merged(storage, open_replica, make):
    for i in range(10):
        async with open_replica(f"writer-{i}") as one:
            await one.decisions.append([make.decision(make.now_us + i)])
            await one.journal.add_up()
    before = (
        await storage.reports.arm_totals("default", None),
        await storage.reports.contexts("default"),
        await storage.reports.totals(),
    )
    assert await storage.maintenance.compact_rollups(make.now_us) > 0
    assert await storage.maintenance.compact_rollups(make.now_us) == 0
    assert before == (
        await storage.reports.arm_totals("default", None),
        await storage.reports.contexts("default"),
        await storage.reports.totals(),
    )


async def test_pruning_removes_old_decisions_with_all_that_hangs_on_them(storage, make):
    await storage.leases.acquire("learner", "me", ttl_s=10, now_us=make.now_us)
    old = [make.decision(make.now_us + i) for i in range(5)]
    new = make.decision(make.now_us + DAY_US)
    await storage.decisions.append([*old, new])
    await storage.rewards.record([make.reward(one.decision_id) for one in (*old, new)], make.judge)
    await storage.rewards.report_usage(UsageReport(decision_id=old[0].decision_id, cost_usd=0.5), lambda *_: None)
    items = await storage.learning.claim("default", 10)
    await storage.learning.commit(
        make.fold(
            contributions={item.decision_id: Contribution("cheap", 2, 1.0, 1.0) for item in items},
            queue_ids=[queue_id for item in items for queue_id in item.queue_ids],
        ),
        holder="me",
    )
    before = await _totals(storage)
    assert await storage.maintenance.prune(before_us=make.now_us + HOUR_US, limit=3) == 3
    assert await storage.maintenance.prune(before_us=make.now_us + HOUR_US, limit=3) == 2
    assert await storage.maintenance.prune(before_us=make.now_us + HOUR_US, limit=3) == 0
    left = await storage.decisions.page(DecisionFilter())
    assert [row["decision_id"] for row in left] == [new.decision_id]
    assert await storage.reports.totals() == {
        "decision": 1, "reward_event": 1, "usage_report": 0, "queue": 0,
    }  # fmt: skip
    assert await _totals(storage) == before
    assert len((await storage.learning.load("default", "schema")).segments) == 1


async def test_a_pruned_log_says_so_in_the_transaction_that_pruned_it(storage, make, monkeypatch):
    await storage.decisions.append([make.decision()])
    assert await storage.maintenance.prune(before_us=make.now_us - DAY_US, limit=10) == 0
    assert await storage.jobs.cursor(PRUNED_CURSOR) == 0
    with monkeypatch.context() as broken:
        broken.setattr("banditd.storage.maintenance.PRUNED_CURSOR", None)
        with pytest.raises(Exception, match=r"(?i)null"):
            await storage.maintenance.prune(before_us=make.now_us + DAY_US, limit=10)
    assert len(await storage.decisions.page(DecisionFilter())) == 1
    assert await storage.maintenance.prune(before_us=make.now_us + DAY_US, limit=10) == 1
    assert await storage.jobs.cursor(PRUNED_CURSOR) == make.now_us + DAY_US
    assert await storage.maintenance.prune(before_us=make.now_us + 2 * DAY_US, limit=10) == 0
    assert await storage.jobs.cursor(PRUNED_CURSOR) == make.now_us + DAY_US
    assert await storage.jobs.runs() == []


async def test_pruning_leaves_what_is_still_to_be_learned(storage, make):
    made = make.decision()
    await storage.decisions.append([made])
    await storage.rewards.record([make.reward(made.decision_id)], make.judge)
    assert await storage.maintenance.prune(before_us=make.now_us + DAY_US, limit=10) == 0
    assert len(await storage.learning.claim("default", 10)) == 1


async def test_pruning_and_rewarding_at_once_loses_no_queued_reward(storage, open_replica, make):
    made = [make.decision(make.now_us + i) for i in range(60)]
    await storage.decisions.append(made)
    async with open_replica() as other:
        answers = await asyncio.gather(
            *(storage.rewards.record([make.reward(one.decision_id)], make.judge) for one in made),
            *(other.maintenance.prune(before_us=make.now_us + DAY_US, limit=7) for _ in range(12)),
        )
    rewarded = [one for one, answer in zip(made, answers, strict=False) if hasattr(answer[0], "reward_id")]
    kept = {item.decision_id for item in await storage.learning.claim("default", 1000)}
    assert kept == {one.decision_id for one in rewarded}


async def test_the_database_answers_and_names_its_revision(storage):
    await storage.maintenance.ping()
    assert await storage.maintenance.schema_revision() == head_revision()


async def test_a_closed_database_says_so(open_replica, make):
    async with open_replica() as closed:
        pass
    with pytest.raises(StorageUnavailableError):
        await closed.maintenance.ping()
    with pytest.raises(StorageUnavailableError):
        await closed.decisions.append([make.decision()])
