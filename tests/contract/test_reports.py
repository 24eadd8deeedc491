from __future__ import annotations

import math
from contextlib import contextmanager

import numpy as np
import pytest
from sqlalchemy import event

from banditd.core.errors import StorageUnavailableError
from banditd.core.rewards import UsageReport
from banditd.ports import DecisionFilter, StatDelta

MINUTE_US = 60_000_000


async def test_arm_totals_add_up_what_routing_did(storage, make):
    start = make.now_us - make.now_us % (300 * 1_000_000)
    probability = np.array([0.5, 0.25, 0.25])
    await storage.decisions.append(
        [
            make.decision(start, probability=probability),
            make.decision(start + 1, probability=probability, arm="dear", explored=True),
            make.decision(start + 2, arms=("dear", "middle"), arm="dear", degraded="encoder_timeout"),
        ]
    )
    rows = {row["arm"]: row for row in await storage.reports.arm_totals("default", None)}
    assert set(rows) == {"cheap", "middle", "dear"}
    cheap, middle, dear = rows["cheap"], rows["middle"], rows["dear"]
    assert (cheap["decisions"], dear["decisions"], middle["decisions"]) == (1, 2, 0)
    assert (cheap["explored"], dear["explored"]) == (0, 1)
    # Greedy counts decisions at which the arm was the best, whoever was drawn.
    assert (cheap["greedy"], dear["greedy"], middle["greedy"]) == (2, 1, 0)
    assert (cheap["degraded"], dear["degraded"]) == (0, 1)
    entropy = 0.5 * math.log(2) + 0.5 * math.log(4)
    assert cheap["entropy_sum"] == pytest.approx(entropy)
    assert dear["entropy_sum"] == pytest.approx(entropy + math.log(2))
    assert cheap["predicted_spend_usd"] == pytest.approx(0.001)
    assert dear["predicted_spend_usd"] == pytest.approx(0.003 + 0.001)
    # What each arm would have cost on every decision at which it was eligible.
    assert (cheap["fixed_decisions"], middle["fixed_decisions"], dear["fixed_decisions"]) == (2, 3, 3)
    assert cheap["fixed_cost_usd"] == pytest.approx(2 * 0.001)
    assert middle["fixed_cost_usd"] == pytest.approx(2 * 0.002 + 0.003)
    assert all(type(row["decisions"]) is int for row in rows.values())
    assert await storage.reports.arm_totals("other", None) == []


async def test_a_window_counts_the_buckets_that_reach_into_it(storage, make):
    start = make.now_us - make.now_us % (300 * 1_000_000)
    await storage.decisions.append([make.decision(start + i * 5 * MINUTE_US) for i in range(4)])
    rows = {row["arm"]: row for row in await storage.reports.arm_totals("default", start + 6 * MINUTE_US)}
    assert rows["cheap"]["decisions"] == 3


async def test_the_timeseries_has_a_row_per_step_and_arm(storage, make):
    hour = 3600 * 1_000_000
    start = make.now_us - make.now_us % hour
    await storage.decisions.append([make.decision(start + i * 20 * MINUTE_US) for i in range(6)])
    rows = await storage.reports.timeseries("default", since_us=start, until_us=start + 2 * hour, step_s=3600)
    cheap = [(row["bucket_at_us"], row["decisions"]) for row in rows if row["arm"] == "cheap"]
    assert cheap == [(start, 3), (start + hour, 3)]
    later = await storage.reports.timeseries("default", since_us=start + hour, until_us=start + 2 * hour, step_s=300)
    assert [row["decisions"] for row in later if row["arm"] == "cheap"] == [1, 1, 1]


async def test_contexts_show_the_clusters_of_the_newest_schema(storage, make):
    await storage.decisions.append([make.decision(make.now_us, schema_hash="old")])
    await storage.decisions.append([make.decision(make.now_us + 1, arm=arm) for arm in ("cheap", "dear")])
    rows = await storage.reports.contexts("default")
    assert [(row["cluster"], row["arm"], row["decisions"]) for row in rows] == [
        (7, "cheap", 1),
        (7, "dear", 1),
    ]


async def test_delays_are_a_histogram(storage, make):
    await storage.leases.acquire("learner", "me", ttl_s=10, now_us=make.now_us)
    deltas = [
        StatDelta(
            arm="cheap", cluster=0, created_at_us=make.now_us, rewards=1, weight=1.0, weighted_reward=1.0,
            weighted_square=1.0, delay_s=delay_s,
        )
        for delay_s in (0.0, 0.05, 7.0, 1e9, None)
    ]  # fmt: skip
    await storage.learning.commit(make.fold(deltas=deltas), holder="me")
    assert await storage.reports.delays("default") == [(0.1, 2), (10.0, 1), (math.inf, 1)]


async def test_replicas_add_up(storage, open_replica, make):
    async with open_replica("second") as other:
        await storage.decisions.append([make.decision(make.now_us)])
        await other.decisions.append([make.decision(make.now_us + 1)])
    for since_us in (None, make.now_us):
        [cheap] = [r for r in await storage.reports.arm_totals("default", since_us) if r["arm"] == "cheap"]
        assert (cheap["decisions"], cheap["fixed_decisions"]) == (2, 2)


async def test_a_reading_goes_on_where_nothing_can_be_written(storage, make, monkeypatch):
    await storage.decisions.append([make.decision(make.now_us)])
    assert await storage.reports.arm_totals("default", None)
    await storage.decisions.append([make.decision(make.now_us + 1)])

    async def full(*_args, **_kwargs):
        raise StorageUnavailableError("database or disk is full")

    with monkeypatch.context() as disk:
        disk.setattr(storage.database, "write", full)
        before = await storage.reports.arm_totals("default", None)
        assert await storage.reports.timeseries("default", since_us=0, until_us=make.now_us * 2, step_s=300)
        assert await storage.arms.usage("default")
    after = await storage.reports.arm_totals("default", None)
    assert [max(row["decisions"] for row in rows) for rows in (before, after)] == [1, 2]


@contextmanager
def _statements(storage):
    seen: list[tuple[str, object]] = []

    def note(_connection, _cursor, statement, parameters, _context, _many):
        seen.append((statement, parameters))

    event.listen(storage.database.engine, "before_cursor_execute", note)
    yield seen
    event.remove(storage.database.engine, "before_cursor_execute", note)


async def _fill(storage, make, n=400):
    made = [make.decision(make.now_us + i * 1000, session_id=f"s{i % 9}") for i in range(n)]
    await storage.decisions.append(made)
    await storage.rewards.record([make.reward(one.decision_id) for one in made[: n // 2]], make.judge)
    await storage.rewards.report_usage(UsageReport(decision_id=made[0].decision_id, cost_usd=0.1), lambda *_: None)
    return made


LOG_TABLES = ("decision", "reward_event", "usage_report", "contribution")


def _full_scans(storage, statements):
    """Tables of the log that some statement would read from end to end."""
    engine = storage.database.engine
    scans = []
    with engine.connect() as connection:
        if engine.dialect.name != "sqlite":
            # A test's tables are so small that scanning is cheap: ask what is possible, not what is cheapest.
            for kind in ("seqscan", "sort"):
                connection.exec_driver_sql(f"SET enable_{kind} = off")
        for statement, parameters in statements:
            if not statement.lstrip().upper().startswith("SELECT"):
                continue
            explain = "EXPLAIN QUERY PLAN " if engine.dialect.name == "sqlite" else "EXPLAIN "
            for row in connection.exec_driver_sql(explain + statement, parameters):
                line = " ".join(str(part) for part in row)
                for table in LOG_TABLES:
                    sqlite_scan = f"SCAN {table}" in line and "USING" not in line
                    if sqlite_scan or f"Seq Scan on {table}" in line:
                        scans.append((table, statement))
        connection.rollback()
    return scans


async def test_no_report_reads_the_log_from_end_to_end(storage, make):
    await _fill(storage, make)
    with _statements(storage) as statements:
        await storage.reports.arm_totals("default", None)
        await storage.reports.arm_totals("default", make.now_us)
        await storage.reports.against("default", "cheap", [(None, None), (0, make.now_us)], ["decisions"], ["errors"])
        await storage.reports.contexts("default")
        await storage.reports.timeseries("default", since_us=make.now_us, until_us=make.now_us + 10, step_s=300)
        await storage.reports.delays("default")
        await storage.reports.totals()
        await storage.arms.usage("default")
        await storage.learning.versions()
        await storage.learning.queue_depth()
        await storage.arms.arms_version()
    assert len(statements) >= 11
    assert _full_scans(storage, statements) == []


async def test_walks_and_pages_find_their_rows_by_an_index(storage, make):
    made = await _fill(storage, make)
    with _statements(storage) as statements:
        await storage.decisions.get(made[3].decision_id)
        await storage.decisions.page(DecisionFilter(policy="default", before_id=made[50].decision_id))
        await storage.decisions.page(DecisionFilter(policy="default", arm="cheap"))
        await storage.decisions.page(DecisionFilter(policy="default", session_id="s3"))
        await storage.decisions.page(DecisionFilter(since_us=make.now_us, until_us=make.now_us + 9))
        await storage.decisions.session_arm("default", "s3")
        await storage.rewards.record([make.reward(made[-1].decision_id)], make.judge)
        await storage.rewards.unrewarded("default", 0, made[5].expires_at_us, 10)
        await storage.rewards.silent_usage("default", make.now_us, make.now_us + 9, 10)
        await storage.learning.claim("default", 10)
        await storage.learning.sample_contributions("default", 10)
        await storage.maintenance.prune(before_us=make.now_us, limit=10)
    assert len(statements) >= 14
    assert _full_scans(storage, statements) == []
