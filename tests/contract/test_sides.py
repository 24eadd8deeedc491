"""What headlines read of the counters is what the log says, whatever was merged meanwhile and came late."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select
from tests.contract.conftest import HOUR_US, NOW_US, make_fold

from banditd.core.rewards import UsageReport
from banditd.ports import EstimateDelta
from banditd.ports.tags import busiest_first
from banditd.services.reports.headline import BASELINE_SUMS, HEADLINE_SUMS
from banditd.services.reports.verdicts import PACE_SUMS
from banditd.storage import Storage
from banditd.storage.schema import SUMS, rollup, tag_rollup

DAY_US = 24 * HOUR_US
TODAY_US = NOW_US - NOW_US % DAY_US
END_US = TODAY_US + 9 * HOUR_US
OF_ALL = (*HEADLINE_SUMS, *PACE_SUMS)
ARMS = ("cheap", "middle", "dear")
# On edges of days, where no bucket of any size lies across them.
STRETCHES = (
    (None, None), (TODAY_US, None), (TODAY_US - DAY_US, TODAY_US), (TODAY_US - 30 * DAY_US, None),
    (TODAY_US - 30 * DAY_US, TODAY_US - 12 * DAY_US), (None, TODAY_US - DAY_US), (END_US + DAY_US, None),
)  # fmt: skip


async def write_log(storage: Storage, make: Any, rng: np.random.Generator, first: int, count: int) -> list[Any]:
    """Decisions of sixty days; every other one is settled, every third has a reward, told by its estimates."""
    made = []
    for _ in range(count):
        at_us = int(END_US - rng.integers(60 * DAY_US))
        arms = ARMS if rng.random() < 0.8 else ARMS[:2]
        tags = {} if rng.random() < 0.2 else {"team": str(rng.choice(["a", "b", "c"]))}
        made.append(
            make.decision(at_us, arms=arms, arm=str(rng.choice(arms)), tags=tags, explored=rng.random() < 0.3)
        )
    await storage.decisions.append(made)
    rewarded = made[::3]
    deltas = [
        EstimateDelta(
            arm, one.created_at_us, (1, 0, int(arm == one.arm), 0.5, 0.125, 2.0, 0.25), tuple(one.tags.items())
        )
        for one in rewarded
        for arm in one.arms
    ]
    await storage.leases.acquire("learner", "me", ttl_s=1e6, now_us=0)
    await storage.learning.commit(make_fold(first, estimates=deltas), holder="me")
    for one in made[::2]:
        told = UsageReport(decision_id=one.decision_id, cost_usd=0.25, body_hash="x")
        await storage.rewards.report_usage(told, lambda _arm, _report: 0.25)
    return [(one, one in rewarded, i % 2 == 0) for i, one in enumerate(made)]


def plain(log: list[Any], arm: str, stretch: tuple[int | None, int | None], of: Callable[[Any], bool]) -> Any:
    """Some sums of both sides by the log alone."""
    since_us, until_us = stretch
    rows = [
        row
        for row in log
        if of(row[0])
        and (since_us is None or row[0].created_at_us >= since_us)
        and (until_us is None or row[0].created_at_us < until_us)
    ]
    could = [row for row in rows if arm in row[0].arms]
    everything = {
        "decisions": len(rows),
        "predicted_spend_usd": sum(float(one.cost_usd[one.arms.index(one.arm)]) for one, _, _ in rows),
        "tried_decisions": sum(one.explored for one, _, _ in rows),
        "drawn_rewards": sum(rated for _, rated, _ in rows),
    }
    mine = {
        "fixed_decisions": len(could),
        "fixed_cost_usd": sum(float(one.cost_usd[one.arms.index(arm)]) for one, _, _ in could),
        "compared_decisions": sum(settled for _, _, settled in could),
        "compared_usd": 0.25 * sum(settled for _, _, settled in could),
        "supported_rewards": sum(rated for _, rated, _ in could),
        "fixed_reward_sum": 0.5 * sum(rated for _, rated, _ in could),
    }
    return everything, mine


def agree(found: Any, wanted: Any) -> None:
    for side, known in zip(found, wanted, strict=True):
        for name, value in known.items():
            assert side.get(name, 0) == pytest.approx(value), name


@pytest.mark.parametrize("seed", [0, 1])
async def test_both_sides_of_every_stretch_are_what_the_log_says(storage, make, seed: int) -> None:
    rng = np.random.default_rng(seed)
    log = await write_log(storage, make, rng, 0, 90)
    for late in (False, True):
        if late:  # what comes for days that have been merged already
            await storage.maintenance.compact_rollups(END_US)
            log += await write_log(storage, make, rng, 1, 30)
        for arm in ("cheap", "dear"):
            found = await storage.reports.against("default", arm, STRETCHES, OF_ALL, BASELINE_SUMS)
            for stretch, sides in zip(STRETCHES, found, strict=True):
                agree(sides, plain(log, arm, stretch, lambda _: True))
                values = await storage.tags.against("default", "team", None, arm, stretch, OF_ALL, BASELINE_SUMS)
                for value in "abc":
                    wanted = plain(log, arm, stretch, lambda one, value=value: one.tags.get("team") == value)
                    agree(values.get(value, ({}, {})), wanted)
                    only = await storage.tags.against("default", "team", [value], arm, stretch, OF_ALL, BASELINE_SUMS)
                    assert only.keys() == values.keys() & {value}
                    for side in only.values():  # added up by another statement, so in another order
                        assert [one.keys() for one in side] == [one.keys() for one in values[value]]
                        agree(side, values[value])


async def test_they_are_the_rows_of_every_arm_added_up_and_the_arms_own(storage, make) -> None:
    await write_log(storage, make, np.random.default_rng(2), 0, 60)
    for since_us, until_us in STRETCHES:
        rows = await storage.reports.arm_totals("default", since_us, until_us)
        [(everything, mine)] = await storage.reports.against(
            "default", "middle", [(since_us, until_us)], OF_ALL, BASELINE_SUMS
        )
        assert everything == (
            {name: pytest.approx(sum(row[name] for row in rows)) for name in OF_ALL} if rows else {}
        )
        own = [row for row in rows if row["arm"] == "middle"]
        assert mine == ({name: pytest.approx(own[0][name]) for name in BASELINE_SUMS} if own else {})
        assert all(type(side.get("decisions", 0)) is int for side in (everything, mine))


async def test_without_an_arm_or_a_log_a_side_is_empty(storage, make) -> None:
    empty = [({}, {})]
    assert await storage.reports.against("default", "cheap", [(None, None)], OF_ALL, BASELINE_SUMS) == empty
    assert await storage.tags.against("default", "team", None, "cheap", (None, None), OF_ALL, BASELINE_SUMS) == {}
    await storage.decisions.append([make.decision()])
    for arm in (None, "nobody"):
        [(everything, mine)] = await storage.reports.against("default", arm, [(None, None)], OF_ALL, BASELINE_SUMS)
        assert (everything["decisions"], mine) == (1, {})


async def test_the_arm_is_its_present_generation(storage, make) -> None:
    await storage.arms.add(make.arm("cheap"))
    await storage.decisions.append([make.decision()])
    await storage.arms.delete("default", "cheap", make.now_us + 2)
    await storage.arms.add(make.arm("cheap"))
    [(everything, mine)] = await storage.reports.against("default", "cheap", [(None, None)], OF_ALL, BASELINE_SUMS)
    assert (everything["decisions"], mine) == (1, {})
    await storage.decisions.append([make.decision(make.now_us + 9, generations={"cheap": 2})])
    [(everything, mine)] = await storage.reports.against("default", "cheap", [(None, None)], OF_ALL, BASELINE_SUMS)
    assert (everything["decisions"], mine["fixed_decisions"]) == (2, 1)


async def test_a_period_is_all_buckets_that_reach_into_it_for_every_reading(storage, make) -> None:
    """By a plain look through the whole tables: ends inside buckets, of all sizes, whoever asks."""
    rng = np.random.default_rng(3)
    await write_log(storage, make, rng, 0, 120)
    await storage.maintenance.compact_rollups(END_US)
    await write_log(storage, make, rng, 1, 40)
    await storage.reports.against("default", None, [(None, None)], OF_ALL, ())  # adds up what waits, as the next does
    await storage.tags.against("default", "team", None, None, (None, None), OF_ALL, ())
    stored = {
        table: await storage.database.read(
            lambda connection, table=table: [dict(row) for row in connection.execute(select(table)).mappings()]
        )
        for table in (rollup, tag_rollup)
    }
    for _ in range(25):
        since_us, until_us = sorted(int(END_US - at) for at in rng.integers(62 * DAY_US, size=2))
        period = (since_us, None) if rng.random() < 0.3 else (since_us, until_us)
        reached = {
            table: [
                row
                for row in rows
                if row["bucket_at_us"] + row["bucket_s"] * 1_000_000 > since_us
                and (period[1] is None or row["bucket_at_us"] < period[1])
            ]
            for table, rows in stored.items()
        }
        arm = str(rng.choice(ARMS))
        names = OF_ALL if rng.random() < 0.5 else HEADLINE_SUMS
        [sides] = await storage.reports.against("default", arm, [period], names, BASELINE_SUMS)
        equal(sides, added(reached[rollup], arm, names))
        rows = await storage.reports.arm_totals("default", *period)
        for row in rows:
            equal((row, {}), added([one for one in reached[rollup] if one["arm"] == row["arm"]], arm, SUMS))
        values = await storage.tags.against("default", "team", None, arm, period, names, BASELINE_SUMS)
        for value, found in values.items():
            mine = [one for one in reached[tag_rollup] if (one["tag"], one["value"]) == ("team", value)]
            equal(found, added(mine, arm, names))
        busiest = await storage.tags.against("default", "team", None, arm, period, names, BASELINE_SUMS, most=2)
        assert list(busiest) == busiest_first({value: sides[0]["decisions"] for value, sides in values.items()})[:2]
        for value, found in busiest.items():
            equal(found, values[value])
        there = {one["value"] for one in reached[tag_rollup] if one["tag"] == "team" and one["decisions"]}
        assert there <= values.keys()


def added(rows: list[dict[str, Any]], arm: str, names: Any) -> Any:
    """Both sides, by hand; without any row a side has nothing."""
    mine = [row for row in rows if row["arm"] == arm]
    everything = {name: sum(row[name] for row in rows) for name in names}
    return everything, {name: sum(row[name] for row in mine) for name in BASELINE_SUMS}


def equal(found: Any, wanted: Any) -> None:
    """Whole numbers the same; others but for the order in which they were added up."""
    for side, known in zip(found, wanted, strict=True):
        for name, value in side.items() if side else ():
            if name in known:
                exact = isinstance(value, int)
                assert value == (known[name] if exact else pytest.approx(known[name], rel=1e-12, abs=1e-15)), name
        if not side:
            assert not any(known.get(name) for name in HEADLINE_SUMS if name in known)
