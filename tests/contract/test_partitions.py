"""The partitioned log of PostgreSQL: where rows go, what queries read, and what retention drops."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import event, insert, inspect, select, text

from banditd.core.errors import ConfigurationError, ConflictError
from banditd.core.ids import lowest_id, new_id
from banditd.core.references import Reference
from banditd.core.rewards import Contribution, UsageReport
from banditd.ports import PRUNED_CURSOR, DecisionFilter
from banditd.storage import dialect, open_storage
from banditd.storage.archive import backup, copy_database, partition_log
from banditd.storage.partitions.layout import (
    AHEAD,
    CHILDREN,
    SPAN_US,
    default_partition,
    is_partitioned,
    occupied_spans,
    partitions,
    span_of,
    span_start_us,
    time_of_id_us,
)
from banditd.storage.schema import attempt, decision, judge_task

DAY_US = 86_400 * 1_000_000


@pytest.fixture
async def storage(postgres_url):
    async with open_storage(postgres_url, writer_name="first") as opened:
        yield opened


def run(storage, work):
    with dialect.writing(storage.database.engine).begin() as connection:
        return work(connection)


def count(storage, table):
    return run(storage, lambda c: c.execute(text(f"SELECT count(*) FROM {table}")).scalar())


def held_by(storage):
    """Partition to the number of its rows, of those that have any."""
    query = text("SELECT tableoid::regclass::text, count(*) FROM decision GROUP BY 1")
    return dict(run(storage, lambda c: c.execute(query).all()))


async def test_a_new_database_has_partitions_for_the_present_and_the_weeks_ahead(storage):
    found = run(storage, partitions)
    assert len(found) == AHEAD + 1
    assert [one.to_id for one in found[:-1]] == [one.from_id for one in found[1:]]
    assert all(time_of_id_us(one.from_id) == span_start_us(span_of(time_of_id_us(one.from_id))) for one in found)
    assert run(storage, default_partition) == "decision_default"


async def test_partitions_are_made_ahead_once_by_whoever_is_first(storage, postgres_url):
    later_us = time_of_id_us(run(storage, partitions)[0].from_id) + 3 * SPAN_US
    async with open_storage(postgres_url, writer_name="second") as other:
        made = await asyncio.gather(*(one.partitions.make_ahead(later_us) for one in (storage, other)))
    assert max(made) == 3
    assert len(run(storage, partitions)) == AHEAD + 1 + 3
    assert await storage.partitions.make_ahead(later_us) == 0


async def test_what_the_default_partition_took_moves_into_its_partition_when_that_is_made(storage, make):
    last = run(storage, partitions)[-1]
    beyond_us = time_of_id_us(last.to_id) + DAY_US
    ahead, present = make.decision(beyond_us), make.decision(time_of_id_us(last.from_id) + DAY_US)
    await storage.decisions.append([ahead, present])
    assert held_by(storage) == {"decision_default": 1, last.name: 1}
    await storage.partitions.make_ahead(beyond_us)
    assert "decision_default" not in held_by(storage)
    assert sum(held_by(storage).values()) == 2
    assert (await storage.decisions.get(ahead.decision_id))["arm"] == ahead.arm


@contextmanager
def statements_of(storage) -> Iterator[list[tuple[str, object]]]:
    """What is sent to the database meanwhile."""
    seen: list[tuple[str, object]] = []

    def note(_connection, _cursor, statement, parameters, _context, many):
        seen.append((statement, parameters[0] if many else parameters))

    event.listen(storage.database.engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(storage.database.engine, "before_cursor_execute", note)


def tables_in(plan):
    own = {plan["Relation Name"]} if "Relation Name" in plan else set()
    return own.union(*(tables_in(one) for one in plan.get("Plans", ())))


async def test_whatever_finds_by_id_reads_one_partition(storage, make):
    first, second = run(storage, partitions)[:2]
    made = make.decision(time_of_id_us(first.from_id) + DAY_US, deferred=True)
    other = make.decision(time_of_id_us(second.from_id) + DAY_US)
    await storage.decisions.append([made, other])
    await storage.leases.acquire("learner", "me", ttl_s=10, now_us=make.now_us)
    decision_id = made.decision_id
    with statements_of(storage) as seen:
        await storage.decisions.get(decision_id)
        await storage.rewards.record([make.reward(decision_id), make.reward(decision_id, arm="dear")], make.judge)
        await storage.decisions.activate(decision_id, make.now_us)
        await storage.rewards.report_usage(UsageReport(decision_id=decision_id, cost_usd=0.5), lambda *_: None)
        await storage.rewards.charge_estimate([decision_id], make.now_us)
        await storage.rewards.release([decision_id], make.now_us)
        with pytest.raises(ConflictError):
            await storage.rewards.abandon(decision_id, make.now_us)
        await storage.decisions.find_reference(Reference(f"chatcmpl-{decision_id}"))
        [item] = await storage.learning.claim("default", 10)
        await storage.learning.commit(
            make.fold(
                contributions={decision_id: Contribution("cheap", 2, 1.0, 1.0)}, queue_ids=list(item.queue_ids)
            ),
            holder="me",
        )
        await storage.learning.sample_contributions("default", 10)
    by_id = [
        (statement, given)
        for statement, given in seen
        if decision_id in (given.values() if isinstance(given, dict) else given or ())
        and ("FROM decision" in statement or "UPDATE decision" in statement or "JOIN decision" in statement)
    ]
    assert len(by_id) >= 10
    names = {one.name for one in run(storage, partitions)} | {"decision_default"}
    for statement, given in by_id:
        plan = run(
            storage,
            lambda c, s=statement, g=given: c.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {s}", g).scalar(),
        )
        plan = json.loads(plan) if isinstance(plan, str) else plan
        assert tables_in(plan[0]["Plan"]) & names <= {first.name}, statement


async def filled(storage, make, at_us, n=3):
    """Decisions with rewards that were learned, usage and attempts; returns them."""
    made = [make.decision(at_us + i * 1000, session_id=f"s{i}") for i in range(n)]
    await storage.decisions.append(made)
    await storage.rewards.record([make.reward(one.decision_id) for one in made], make.judge)
    for one in made:
        await storage.rewards.report_usage(UsageReport(decision_id=one.decision_id, cost_usd=0.5), lambda *_: None)
    items = await storage.learning.claim("default", 100)
    version = (await storage.learning.versions()).get("default", 0)
    await storage.leases.acquire("learner", "me", ttl_s=10, now_us=make.now_us)
    await storage.learning.commit(
        make.fold(
            version,
            contributions={item.decision_id: Contribution("cheap", 2, 1.0, 1.0) for item in items},
            queue_ids=[queue_id for item in items for queue_id in item.queue_ids],
        ),
        holder="me",
    )
    rows = [{"decision_id": one.decision_id, "ordinal": 0, "policy": "default", "arm": "cheap"} for one in made]
    run(storage, lambda c: c.execute(insert(attempt), rows))
    return made


async def test_retention_drops_whole_partitions_with_all_that_hangs_on_them(storage, make):
    first, second = run(storage, partitions)[:2]
    old = await filled(storage, make, time_of_id_us(first.from_id) + DAY_US)
    new = await filled(storage, make, time_of_id_us(second.from_id) + DAY_US)
    # The last of its decisions is not old enough yet: nothing goes, not even the first ones.
    assert await storage.partitions.drop(before_us=time_of_id_us(first.to_id)) == time_of_id_us(first.from_id)
    assert count(storage, "decision") == 6
    before_us = time_of_id_us(first.to_id) + DAY_US
    assert await storage.partitions.drop(before_us=before_us) == time_of_id_us(second.from_id)
    assert first not in run(storage, partitions)
    assert await storage.reports.totals() == {
        "decision": 3, "reward_event": 3, "usage_report": 3, "queue": 0,
    }  # fmt: skip
    for table in ("contribution", "reward_event", "usage_report", "attempt"):
        assert count(storage, table) == 3, table
    assert await storage.decisions.get(old[0].decision_id) is None
    assert len((await storage.decisions.get(new[0].decision_id))["rewards"]) == 1
    assert await storage.jobs.cursor(PRUNED_CURSOR) == time_of_id_us(first.to_id)
    assert await storage.partitions.drop(before_us=before_us) == time_of_id_us(second.from_id)
    assert count(storage, "decision") == 3


async def test_a_partition_with_rewards_that_are_to_be_learned_stays(storage, make):
    first = run(storage, partitions)[0]
    made = make.decision(time_of_id_us(first.from_id) + DAY_US)
    await storage.decisions.append([made])
    await storage.rewards.record([make.reward(made.decision_id)], make.judge)
    before_us = time_of_id_us(first.to_id) + DAY_US
    assert await storage.partitions.drop(before_us=before_us) == time_of_id_us(first.from_id)
    assert count(storage, "decision") == 1
    # Set aside for a learner of other features it may wait for ever.
    run(storage, lambda c: c.execute(text("UPDATE fold_queue SET schema_hash = 'other'")))
    await storage.partitions.drop(before_us=before_us)
    assert count(storage, "decision") == count(storage, "fold_queue") == 0


async def test_while_somebody_reads_the_log_a_partition_stays_and_nobody_is_refused(storage, make, monkeypatch):
    monkeypatch.setattr("banditd.storage.partitions.upkeep._PAUSE_S", 0.0)
    monkeypatch.setattr("banditd.storage.partitions.upkeep.LOCK_WAIT", "20ms")
    first, second = run(storage, partitions)[:2]
    await storage.decisions.append([make.decision(time_of_id_us(first.from_id) + DAY_US)])
    before_us = time_of_id_us(first.to_id) + DAY_US
    with dialect.reading(storage.database.engine).begin() as report:
        assert report.execute(text("SELECT count(*) FROM decision")).scalar() == 1
        dropping = asyncio.create_task(storage.partitions.drop(before_us=before_us))
        while not dropping.done():
            await storage.decisions.append([make.decision(time_of_id_us(second.from_id) + DAY_US)])
        assert await dropping == time_of_id_us(first.from_id)
    await storage.maintenance.ping()
    await storage.partitions.drop(before_us=before_us)
    assert first not in run(storage, partitions)


async def test_what_was_left_behind_a_dropped_partition_is_deleted_and_the_default_partition_keeps_its_own(
    storage, make
):
    first, second = run(storage, partitions)[:2]
    lost, kept = new_id(time_of_id_us(first.from_id)), make.decision(make.now_us)
    await storage.decisions.append([kept])
    await storage.rewards.record([make.reward(kept.decision_id)], make.judge)
    row = {
        **dict.fromkeys(("policy", "judge", "arm", "question", "answer"), "x"),
        **dict.fromkeys(("created_at_us", "expires_at_us", "due_at_us"), 0),
        "task_id": "t", "decision_id": lost, "probability": 1.0, "version": "v",
    }  # fmt: skip
    columns = set(judge_task.columns.keys())
    run(storage, lambda c: c.execute(insert(judge_task), {k: v for k, v in row.items() if k in columns}))
    run(storage, lambda c: c.execute(text(f"DROP TABLE {first.name}")))
    await storage.partitions.drop(before_us=time_of_id_us(second.from_id))
    assert count(storage, "judge_task") == 0
    assert count(storage, "reward_event") == 1
    # Row by row it goes like any other.
    run(storage, lambda c: c.execute(text("DELETE FROM fold_queue")))
    assert await storage.maintenance.prune(before_us=time_of_id_us(second.from_id), limit=10) == 1


@pytest.mark.parametrize("kind", ["sqlite_url", "whole_url"])
async def test_a_log_without_partitions_is_pruned_row_by_row(kind, request, make):
    async with open_storage(request.getfixturevalue(kind), writer_name="w") as storage:
        await storage.decisions.append([make.decision()])
        assert await storage.partitions.make_ahead(make.now_us) == 0
        assert await storage.partitions.drop(before_us=make.now_us + DAY_US) == make.now_us + DAY_US
        assert len(await storage.decisions.page(DecisionFilter())) == 1


async def test_a_copy_has_partitions_for_every_week_of_its_source(storage, sqlite_url, postgres_url, make, tmp_path):
    start_us = span_start_us(span_of(make.now_us))
    times = [start_us, start_us + SPAN_US - 1000, start_us + 5 * SPAN_US]
    async with open_storage(sqlite_url, writer_name="w") as source:
        await source.decisions.append([make.decision(at_us) for at_us in times])
    copy_database(sqlite_url, postgres_url, progress=lambda *_: None)
    assert sorted(held_by(storage).values()) == [1, 2]
    assert "decision_default" not in held_by(storage)
    moved = backup(postgres_url, tmp_path / "back.db", progress=lambda *_: None)
    assert moved.decisions == 3


async def test_spans_are_found_without_reading_the_log(storage, make):
    ids = [lowest_id(span_start_us(span)) for span in (2600, 2600, 2700)]
    made = [make.decision(decision_id=f"{one[:-1]}{i}") for i, one in enumerate(ids)]
    odd = [make.decision(decision_id=one) for one in ("d0", "zz-no-uuid")]
    await storage.decisions.append([*made, *odd])
    assert run(storage, lambda c: occupied_spans(c, span_start_us(2900))) == [2600, 2700]
    assert run(storage, lambda c: occupied_spans(c, span_start_us(2650))) == [2600]


# ---------------------------------------------------------------- moving an existing log


class _KilledError(BaseException):
    """As by kill -9: nobody catches it."""


def killing(what, at):
    """A progress that ends the process at the n-th report of that step."""
    reports = itertools.count(1)

    def progress(step, _done, _total):
        if step.startswith(what) and next(reports) == at:
            raise _KilledError

    return progress


def quiet(_what, _done, _total):
    """Nobody watches."""


def logged(url):
    """The log in order, as it is stored."""
    engine = dialect.make_engine(dialect.normalise_url(url), pool_size=1, busy_timeout_s=5)
    with dialect.reading(engine).begin() as connection:
        rows = [tuple(row) for row in connection.execute(select(decision).order_by(decision.c.decision_id))]
    engine.dispose()
    return rows


async def test_an_existing_log_is_moved_into_partitions_whenever_it_is_killed(old_log, make, monkeypatch):
    monkeypatch.setattr("banditd.storage.archive.partitioning.CHUNK", 10)
    before = logged(old_log)
    for at, step in enumerate((("moving", 3), ("moving", 1), ("indexing", 2), ("taking", 1))):
        with pytest.raises(_KilledError):
            partition_log(old_log, progress=killing(*step))
        # Whenever that was, the log is there as it was, and a daemon that starts can serve.
        assert logged(old_log) == before
        async with open_storage(old_log, writer_name="first") as storage:
            assert not run(storage, is_partitioned)
            await storage.decisions.append([make.decision(make.now_us + 3000 + at)])
            gone = decision.c.decision_id == before[at][0]
            run(storage, lambda c, gone=gone: c.execute(decision.delete().where(gone)))
        before = logged(old_log)
    found = partition_log(old_log, progress=quiet)
    assert (found.already, found.decisions, found.moved_now < 30) == (False, len(before), True)
    assert logged(old_log) == before
    assert partition_log(old_log, progress=quiet).already
    async with open_storage(old_log, writer_name="first") as storage:
        assert run(storage, is_partitioned)
        assert sorted(held_by(storage).values()) == [1, 25, len(before) - 26]
        assert run(storage, lambda c: inspect(c).has_table("decision_moving")) is False
        await storage.partitions.drop(before_us=make.now_us + 4 * SPAN_US)
        assert count(storage, "decision") == 1


async def test_a_moved_log_is_what_a_new_one_is(old_log, postgres_url):
    partition_log(old_log, progress=quiet)
    shapes = []
    for url in (old_log, postgres_url):
        engine = dialect.make_engine(dialect.normalise_url(url), pool_size=1, busy_timeout_s=5)
        with dialect.reading(engine).begin() as connection:
            inspector = inspect(connection)
            shapes.append(
                (
                    sorted(one["name"] for one in inspector.get_indexes("decision")),
                    inspector.get_pk_constraint("decision")["name"],
                    [(one["name"], str(one["type"]), one["default"]) for one in inspector.get_columns("decision")],
                    {table.name: len(inspector.get_foreign_keys(table.name)) for table in CHILDREN},
                )
            )
            readers = connection.execute(text("SELECT has_table_privilege('public', 'decision', 'SELECT')")).scalar()
            assert readers is (url == old_log)
        engine.dispose()
    assert shapes[0] == shapes[1]


async def test_a_log_is_not_moved_while_a_daemon_runs(old_log):
    async with open_storage(old_log, writer_name="w") as storage:
        await storage.leases.acquire("learner", "me", ttl_s=10, now_us=time.time_ns() // 1000)
        with pytest.raises(ConflictError, match="stop it first"):
            partition_log(old_log, progress=quiet)
        assert not run(storage, is_partitioned)


def test_sqlite_has_no_partitions(sqlite_url):
    with pytest.raises(ConfigurationError, match="PostgreSQL"):
        partition_log(sqlite_url, progress=quiet)
