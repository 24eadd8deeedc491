"""Counters by tag: counted once whoever adds them up, a bounded number of values, and nothing is lost on the way."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from sqlalchemy import func, insert, select
from tests.contract.conftest import HOUR_US, make_decision, make_fold

from banditd.core.rewards import Contribution, UsageReport
from banditd.core.types import Context
from banditd.ports import EstimateDelta, StatDelta
from banditd.storage import Storage
from banditd.storage.schema import job_run, rollup, tag_cluster, tag_entry, tag_rollup, tag_total, tag_value
from banditd.storage.tag_counters import COUNTED_CURSOR
from banditd.storage.tag_places import TAGS, VALUES
from banditd.storage.tag_upkeep import FREED

DAY_US = 24 * HOUR_US


async def decisions_of(storage: Storage, tag: str, policy: str = "default") -> dict[str, int]:
    """Decisions by value over the policy's life, as readers see them."""
    found: dict[str, int] = {}
    for row in await storage.tags.totals(policy, tag, None, None, None):
        value = str(row["value"])
        found[value] = found.get(value, 0) + int(row["decisions"])
    return {value: decisions for value, decisions in found.items() if decisions}


async def read(storage: Storage, query: Any) -> Any:
    return await storage.database.read(lambda connection: connection.execute(query).all())


def changes(tags: tuple[tuple[str, str], ...], at_us: int, **values: Any) -> StatDelta:
    told = {"rewards": 1, "weight": 0.5, "weighted_reward": 0.25, "weighted_square": 0.125, "delay_s": None}
    return StatDelta(arm="cheap", cluster=7, created_at_us=at_us, tags=tags, **(told | values))


async def test_every_sum_of_a_tagged_decision_is_counted_under_each_of_its_tags(storage, make) -> None:
    tags = {"task": "sql", "team": "a"}
    made = make.decision(tags=tags, explored=True, degraded="no text")
    await storage.decisions.append([made, make.decision(tags={})])
    pairs = tuple(sorted(tags.items()))
    estimates = [EstimateDelta(arm, made.created_at_us, (1, 0, 1, 0.5, 0.1, 2.0, 0.3), pairs) for arm in made.arms]
    await storage.leases.acquire("learner", "me", ttl_s=1e6, now_us=0)
    put = {made.decision_id: Contribution("cheap", 2, 0.5, 0.5)}
    fold = make_fold(contributions=put, deltas=[changes(pairs, made.created_at_us)], estimates=estimates)
    await storage.learning.commit(fold, holder="me")
    told = UsageReport(decision_id=made.decision_id, input_tokens=10, cost_usd=0.25, latency_ms=12.0, body_hash="x")
    await storage.rewards.report_usage(told, lambda _arm, _report: 0.25)
    everything = {row["arm"]: row for row in await storage.reports.arm_totals("default", None)}
    for tag, value in pairs:
        rows = await storage.tags.totals("default", tag, value, None, None)
        assert {row["arm"] for row in rows} == set(made.arms)
        for row in rows:
            whole = dict(everything[row["arm"]])
            assert row["rewards"] == whole["rewards"]
            assert row["spend_usd"] == pytest.approx(whole["spend_usd"])
            assert row["fixed_reward_sum"] == pytest.approx(whole["fixed_reward_sum"]) == pytest.approx(0.5)
            # The decision without tags is in the whole alone.
            assert whole["fixed_decisions"] - row["fixed_decisions"] == 1
        by_time = await storage.tags.totals("default", tag, value, made.created_at_us - DAY_US, None)
        assert by_time == rows
    [cell] = await storage.tags.contexts("default", "schema", "task", "sql")
    assert (cell["cluster"], cell["decisions"], cell["rewards"], cell["spend_usd"]) == (7, 1, 1, 0.25)


async def test_an_adding_up_that_fails_counts_nothing_and_takes_nothing(
    storage, make, monkeypatch: pytest.MonkeyPatch
) -> None:
    await storage.decisions.append([make.decision()])

    def broken(*_: Any) -> None:
        raise RuntimeError("the power went")

    monkeypatch.setattr(storage.journal._tags, "_write", broken)
    with pytest.raises(RuntimeError):
        await storage.journal.add_up()
    assert await read(storage, select(tag_value)) == []
    assert len(await read(storage, select(tag_entry))) == 1
    monkeypatch.undo()
    await storage.journal.add_up()
    assert await decisions_of(storage, "team") == {"a": 1}
    assert await read(storage, select(tag_entry)) == []


async def test_replicas_that_add_up_at_once_count_nothing_twice_and_give_no_place_too_many(
    storage, open_replica, make
) -> None:
    """Whatever the clocks of those who wrote them said, and with more values than there are places."""
    async with open_replica() as second:
        for i in range(VALUES + 20):
            log = (storage, second)[i % 2].decisions
            await log.append([make.decision(make.now_us + (-1) ** i * i * HOUR_US, tags={"user": f"u{i}"})])
            if i % 40 == 0:
                await asyncio.gather(*(one.journal.add_up() for one in (storage, second) * 3))
        await asyncio.gather(*(one.journal.add_up() for one in (storage, second) * 3))
        found = await decisions_of(storage, "user")
    assert len(found) == VALUES + 1
    assert found.pop("") == 20
    assert set(found.values()) == {1}
    counted = select(tag_value.c.value, tag_value.c.decisions).where(tag_value.c.tag == "user")
    assert sum(row.decisions for row in await read(storage, counted)) == VALUES + 20


async def test_no_more_than_so_many_tags_have_counters(storage, make) -> None:
    for i in range(TAGS + 3):
        await storage.decisions.append([make.decision(tags={f"tag{i:02d}": "x"})])
        await storage.journal.add_up()
    assert {tag for tag, _, _ in await storage.tags.values("default")} == {f"tag{i:02d}" for i in range(TAGS)}


async def test_a_value_that_comes_late_and_often_gets_a_place_and_no_sum_is_lost(storage, make) -> None:
    early = [make.decision(tags={"user": f"u{i:03d}"}) for i in range(VALUES)]
    busy = [make.decision(tags={"user": f"u{i:03d}"}) for i in range(FREED, VALUES)]
    await storage.decisions.append(early + busy)
    await storage.journal.add_up()
    await storage.decisions.append([make.decision(tags={"user": "late"}) for _ in range(30)])
    assert (await decisions_of(storage, "user"))[""] == 30
    before = await whole(storage)
    await storage.maintenance.compact_rollups(make.now_us + HOUR_US)
    assert await whole(storage) == before
    found = await decisions_of(storage, "user")
    assert not found.keys() & {f"u{i:03d}" for i in range(FREED)}
    assert found[""] == 30 + FREED
    await storage.decisions.append(late_again := [make.decision(tags={"user": "late"}) for _ in range(5)])
    assert (await decisions_of(storage, "user"))["late"] == len(late_again)
    # A tag with a free place takes none from anybody.
    await storage.maintenance.compact_rollups(make.now_us + 2 * HOUR_US)
    assert "late" in await decisions_of(storage, "user")


async def whole(storage: Storage) -> list[tuple[Any, ...]]:
    """The sums of every table over all values."""
    await storage.journal.add_up()
    found = []
    for table in (tag_rollup, tag_total, tag_cluster):
        sums = [func.sum(table.c[name]) for name in ("decisions", "rewards", "weight", "spend_usd")]
        found += [tuple(map(float, row)) for row in await read(storage, select(*sums))]
    counted = select(func.sum(tag_value.c.decisions)).where(tag_value.c.tag != "")
    return [*found, *map(tuple, await read(storage, counted))]


async def test_old_buckets_become_coarser_and_at_last_go_but_the_totals_stay(storage, make) -> None:
    for hour in range(30):
        await storage.decisions.append([make.decision(make.now_us + hour * HOUR_US)])
    before = await whole(storage)
    buckets = select(tag_rollup.c.bucket_at_us).where(tag_rollup.c.decisions > 0).distinct()
    assert len(await read(storage, buckets)) == 30
    await storage.maintenance.compact_rollups(make.now_us + 5 * DAY_US)
    assert len(await read(storage, buckets)) <= 3
    assert await whole(storage) == before
    await storage.maintenance.compact_rollups(make.now_us + 100 * DAY_US)
    assert len(await read(storage, buckets)) <= 2
    assert await whole(storage) == before
    await storage.maintenance.compact_rollups(make.now_us + 500 * DAY_US)
    assert await read(storage, buckets) == []
    assert await decisions_of(storage, "team") == {"a": 30}


async def test_pruning_the_log_leaves_the_counters(storage, make) -> None:
    await storage.decisions.append([make.decision() for _ in range(3)])
    while await storage.maintenance.prune(before_us=make.now_us + DAY_US, limit=2):
        pass
    assert await decisions_of(storage, "team") == {"a": 3}


async def test_what_was_made_before_there_were_counters_is_in_none_of_them(storage, make) -> None:
    """Neither it nor its reward: otherwise a value would have more rewards than decisions."""
    cursor = {"job": COUNTED_CURSOR, "cursor": make.now_us}
    await storage.database.write(lambda connection: connection.execute(insert(job_run), cursor) and None)
    await storage.leases.acquire("learner", "me", ttl_s=1e6, now_us=0)
    old = changes((("team", "a"),), make.now_us)
    new = changes((("team", "b"),), make.now_us + HOUR_US)
    await storage.learning.commit(make_fold(deltas=[old, new]), holder="me")
    rows = await storage.tags.totals("default", "team", None, None, None)
    assert [(row["value"], row["rewards"]) for row in rows] == [("b", 1)]


async def test_a_recount_replaces_the_sums_of_rewards_those_that_wait_included(storage, make) -> None:
    await storage.leases.acquire("learner", "me", ttl_s=1e6, now_us=0)
    tags = (("team", "a"),)
    await storage.decisions.append([make.decision()])
    counted, waits = changes(tags, make.now_us, rewards=5), changes(tags, make.now_us, rewards=7)
    await storage.learning.commit(make_fold(deltas=[counted]), holder="me")
    await storage.journal.add_up()
    await storage.learning.commit(make_fold(1, deltas=[waits]), holder="me")
    anew = make_fold(0, replaces=True, recounts=True, dropped_snapshots=[1, 2], deltas=[changes(tags, make.now_us)])
    await storage.learning.commit(anew, holder="me")
    rows = await storage.tags.totals("default", "team", "a", None, None)
    by_arm = {row["arm"]: row for row in rows}
    assert (by_arm["cheap"]["decisions"], by_arm["cheap"]["rewards"]) == (1, 1)
    [cell] = await storage.tags.contexts("default", "schema", "team", "a")
    assert cell["rewards"] == 1


async def test_damaged_tags_of_a_row_stop_nothing(storage, make) -> None:
    from sqlalchemy import update

    from banditd.storage.schema import decision

    made = make.decision()
    await storage.decisions.append([made])
    await storage.database.write(lambda c: c.execute(update(decision).values(tags="[1, broken")) and None)
    told = UsageReport(decision_id=made.decision_id, cost_usd=0.5, body_hash="x")
    settled = await storage.rewards.report_usage(told, lambda _arm, _report: 0.5)
    assert settled.cost_usd == 0.5
    spent = select(func.sum(rollup.c.spend_usd))
    assert (await read(storage, spent))[0][0] == 0.5


def test_a_decision_of_the_tests_has_a_tag() -> None:
    assert make_decision().tags == {"team": "a"}


async def test_the_frequent_values_of_clusters_come_in_all_clusters_and_the_others_together(storage, make) -> None:
    def decisions(cluster: int, value: str, count: int) -> list[Any]:
        context = Context(x=np.zeros(4), cluster=cluster)
        return [make.decision(tags={"task": value}, context=context) for _ in range(count)]

    rare = [one for i in range(4) for one in decisions(1, f"rare-{i}", 2)]
    made = [
        *decisions(1, "sql", 6),
        *decisions(2, "sql", 1),
        *decisions(2, "chat", 9),
        *decisions(3, "sql", 3),
        *rare,
    ]
    await storage.decisions.append(made)
    found = await storage.tags.frequent_values("default", "schema", 5, 0.4)
    # "sql" is frequent in cluster 1 alone, and counted wherever it was seen; three are too few, though they be all.
    assert sorted(found) == [
        (1, "task", "", 8),
        (1, "task", "sql", 6),
        (2, "task", "chat", 9),
        (2, "task", "sql", 1),
        (3, "task", "sql", 3),
    ]
    assert await storage.tags.frequent_values("default", "another", 5, 0.4) == []


async def test_a_report_reads_the_columns_that_it_wants_and_no_others(storage, make) -> None:
    made = make.decision(tags={"task": "sql"})
    await storage.decisions.append([made])
    since_us = made.created_at_us - DAY_US
    for since in (None, since_us):
        rows = await storage.tags.totals("default", "task", None, since, None, ["decisions", "spend_usd"])
        whole = await storage.tags.totals("default", "task", None, since, None)
        assert rows == [{name: row[name] for name in ("value", "arm", "decisions", "spend_usd")} for row in whole]
    [step] = await storage.tags.timeseries(
        "default", "task", None, since_us=since_us, until_us=since_us + 2 * DAY_US, step_s=3600, sums=["explored"]
    )
    assert set(step) == {"bucket_at_us", "value", "explored"}
