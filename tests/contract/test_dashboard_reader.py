"""The dashboard's reads, on both databases: what they find, and that they never read a table from end to end."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest
from sqlalchemy import event, text

from banditd.core.attempts import Attempt
from banditd.core.ids import lowest_id
from banditd.core.rewards import Contribution, UsageReport
from banditd.core.types import Context
from banditd.ports import DecisionFilter
from banditd.storage.map_reader import _ended


def hyper(lexical: float) -> str:
    return json.dumps({"shared": {"lexical": lexical}, "own": {"lexical": lexical / 2}, "noise": {}})


@pytest.fixture
async def leader(storage, make):
    await storage.leases.acquire("learner", "me", ttl_s=60, now_us=make.now_us)
    return storage


async def test_recent_contexts_are_the_newest_of_the_policy_and_schema(leader, make):
    made = [
        make.decision(make.now_us + i * 1000, context=Context(np.array([1.0, i / 8, -0.25]), i)) for i in range(6)
    ]
    others = [
        make.decision(make.now_us + 9000, policy="drafts"),
        make.decision(make.now_us + 9500, schema_hash="of another encoder"),
    ]
    await leader.decisions.append([*made, *others])
    put = Contribution("cheap", 2, 1.0, 0.75)
    await leader.learning.commit(make.fold(contributions={made[5].decision_id: put}), holder="me")
    rows = await leader.dashboard.recent_contexts("default", "schema", 4)
    # The row of the other schema is one of the last four, and is left out.
    assert [row.decision_id for row in rows] == [one.decision_id for one in reversed(made[3:])]
    assert [row.reward for row in rows] == [0.75, None, None]
    assert [row.x.tolist() for row in rows] == [[1.0, i / 8, -0.25] for i in (5, 4, 3)]
    assert [row.cluster for row in rows] == [5, 4, 3]


async def test_calls_are_counted_as_their_reports_told_them(storage, make):
    ends = [(None,), ("server", None), ("overload", "server"), ("server", "client_gone"), (None, None)]
    reports = []
    for name in ("cheap", "dear"):
        await storage.arms.add(make.arm(name))
    for number in range(20):
        made = make.decision(make.now_us + number * 1000)
        await storage.decisions.append([made])
        attempts = tuple(
            Attempt(
                arm=("cheap", "dear")[place], error=error, latency_ms=number / 3 + place, cost_usd=0.001,
                first_token_ms=None if number % 2 else number / 7,
            )
            for place, error in enumerate(ends[number % 5])
        )  # fmt: skip
        served = "dear" if attempts[-1].arm == "dear" and attempts[-1].error is None else None
        reports.append(UsageReport(decision_id=made.decision_id, served_arm=served, attempts=attempts))
        await storage.rewards.report_usage(reports[-1], lambda _arm, _report: None)
    reports.sort(key=lambda one: one.decision_id)  # the first one's is later where this process has made later ones
    for limit in (7, 20, 100):
        read = reports[-limit:]
        recent = await storage.dashboard.recent_calls("default", make.now_us - 1000, limit)
        assert recent.truncated == (limit == 7)
        assert recent.ended == Counter(one.attempts[-1].error for one in read)
        assert recent.fallbacks == sum(one.served_arm is not None for one in read)
        calls = [call for one in read for call in one.attempts]
        assert {(group.arm, group.error): group.attempts for group in recent.groups} == Counter(
            (call.arm, call.error) for call in calls
        )
        for group in recent.groups:
            mine = [call for call in calls if (call.arm, call.error) == (group.arm, group.error)]
            known = [call for call in mine if call.error is None]
            assert group.cost_usd == pytest.approx(0.001 * len(mine))
            assert sorted(group.latency_ms) == pytest.approx(sorted(call.latency_ms for call in known))
            first = sorted(call.first_token_ms for call in known if call.first_token_ms is not None)
            assert sorted(group.first_token_ms) == pytest.approx(first)


async def test_calls_of_other_policies_cost_a_look_at_ones_own_nothing(storage, make):
    """At 400,000 attempts PostgreSQL read those that others had followed anew for each, for longer than a minute."""
    engine = storage.database.engine
    if engine.dialect.name == "sqlite":
        pytest.skip("only PostgreSQL counts the rows that a plan has touched")
    numbered, first = "FROM generate_series(0, :last) AS made(i)", lowest_id(make.now_us)
    made_by = f"'{first[:-12]}' || lpad(i::text, 12, '0'), CASE WHEN mod(i, 50) = 0 THEN 'default' ELSE 'drafts' END"
    report = "INSERT INTO usage_report (decision_id, policy, arm, estimated, body_hash, received_at_us)"
    with engine.begin() as connection:
        connection.execute(text(f"{report} SELECT {made_by}, 'cheap', false, '', 0 {numbered}"), {"last": 999})
        for ordinal in (0, 1):
            attempts = "INSERT INTO attempt (decision_id, policy, arm, ordinal)"
            connection.execute(text(f"{attempts} SELECT {made_by}, 'cheap', {ordinal} {numbered}"), {"last": 999})
        connection.exec_driver_sql("ANALYZE usage_report, attempt")
        for kind in ("seqscan", "hashjoin", "mergejoin"):  # the best for so few rows, and for no more
            connection.exec_driver_sql(f"SET LOCAL enable_{kind} = off")
        values = {"policy": "default", "first": first}
        assert [tuple(row) for row in connection.execute(_ended(after=False), values)] == [(None, 20, 0)]
        compiled = _ended(after=False).compile(dialect=engine.dialect)
        explain = f"EXPLAIN (ANALYZE, FORMAT JSON) {compiled}"
        [explained] = connection.exec_driver_sql(explain, compiled.construct_params(values)).scalar_one()
    assert touched(explained["Plan"], "attempt") < 200


def touched(plan: dict, table: str) -> float:
    """Rows of a table that a plan has read."""
    mine = plan.get("Relation Name") == table
    rows = (plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)) * plan["Actual Loops"] if mine else 0
    return rows + sum(touched(below, table) for below in plan.get("Plans", ()))


async def test_scales_are_spread_over_time_with_both_ends(leader, make):
    assert await leader.dashboard.scale_history("default", "schema", 5) == []
    for version in range(40):
        fold = make.fold(version, segments=[], hyperparameters=hyper(version / 100), at_us=make.now_us + version**3)
        await leader.learning.commit(fold, holder="me")
    rows = await leader.dashboard.scale_history("default", "schema", 5)
    versions = [row.version for row in rows]
    assert len(versions) <= 5
    assert versions == sorted(versions)
    assert (versions[0], versions[-1]) == (1, 40)
    # Even in time, not in versions: most versions were made at the beginning.
    assert versions[1] > 20
    assert all(row.shared == {"lexical": (row.version - 1) / 100} for row in rows)
    assert all(row.own == {"lexical": (row.version - 1) / 200} for row in rows)
    every = await leader.dashboard.scale_history("default", "schema", 100)
    assert [row.version for row in every] == list(range(1, 41))
    assert await leader.dashboard.scale_history("default", "another", 5) == []


async def test_a_search_ends_so_many_decisions_back(storage, make):
    made = [make.decision(make.now_us + i * 1000, arm=("cheap", "dear")[i % 2]) for i in range(20)]
    await storage.decisions.append(made)
    ids = [one.decision_id for one in made]
    end = storage.reports.search_end
    assert await end(DecisionFilter(policy="default", explored=True), 8) == ids[12]
    assert await end(DecisionFilter(policy="default", cluster=3, before_id=ids[15]), 8) == ids[7]
    assert await end(DecisionFilter(policy="default", arm="dear", explored=True), 8) == ids[5]
    assert await end(DecisionFilter(policy="default", explored=True), 21) is None
    # A tag that nobody has must not be looked for in all of the log: no index serves it.
    assert await end(DecisionFilter(policy="default", tag=("task", "nobody's")), 8) == ids[12]
    found = await storage.decisions.page(DecisionFilter(policy="default", from_id=ids[17], limit=50))
    assert [row["decision_id"] for row in found] == ids[:16:-1]


async def test_no_read_of_the_dashboard_scans_the_log(leader, make):
    await leader.decisions.append([make.decision(make.now_us + i * 1000) for i in range(300)])
    engine = leader.database.engine
    seen: list[tuple[str, object]] = []

    def note(_connection, _cursor, statement, parameters, _context, _many):
        seen.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", note)
    await leader.dashboard.recent_contexts("default", "schema", 50)
    await leader.dashboard.scale_history("default", "schema", 50)
    filters = DecisionFilter(policy="default", explored=True, cluster=7)
    end = await leader.reports.search_end(filters, 100)
    await leader.decisions.page(DecisionFilter(policy="default", explored=True, from_id=end))
    event.remove(engine, "before_cursor_execute", note)
    plans = []
    with engine.connect() as connection:
        sqlite = engine.dialect.name == "sqlite"
        if not sqlite:  # so small a table is best scanned: ask what is possible
            for kind in ("seqscan", "sort"):
                connection.exec_driver_sql(f"SET enable_{kind} = off")
        for statement, parameters in seen:
            if statement.lstrip().upper().startswith("SELECT"):
                found = connection.exec_driver_sql(
                    ("EXPLAIN QUERY PLAN " if sqlite else "EXPLAIN ") + statement, parameters
                )
                plans.append("\n".join(" ".join(map(str, row)) for row in found))
        connection.rollback()
    assert len(plans) >= 4
    assert [plan for plan in plans if "SCAN decision" in plan or "Seq Scan on decision" in plan] == []
    assert [plan for plan in plans if "TEMP B-TREE FOR ORDER BY" in plan and "decision" in plan] == []
