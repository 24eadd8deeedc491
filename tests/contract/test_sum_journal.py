"""What commits add to the counters is counted once, whoever adds it up and whoever dies meanwhile."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from typing import Any

import pytest
from sqlalchemy import func, select

from banditd.storage import Storage
from banditd.storage.schema import arm_total, rollup, row_count, sum_entry


async def counted(storage: Storage) -> tuple[int, Counter[str], int]:
    """(entries that wait, decisions by arm, rows of the log), as the tables have them now."""
    read = storage.database.read
    waiting = await read(lambda c: c.execute(select(func.count()).select_from(sum_entry)).scalar_one())
    by_arm = select(arm_total.c.arm, func.sum(arm_total.c.decisions)).group_by(arm_total.c.arm)
    totals = await read(lambda c: c.execute(by_arm).all())
    rows = select(func.sum(row_count.c.rows)).where(row_count.c.name == "decision")
    log = await read(lambda c: c.execute(rows).scalar())
    return waiting, Counter({arm: int(n) for arm, n in totals if n}), int(log or 0)


async def test_a_commit_leaves_one_entry_and_adding_up_takes_it(storage, make) -> None:
    await storage.decisions.append([make.decision(make.now_us + i) for i in range(12)])
    assert await counted(storage) == (1, Counter(), 0)
    await storage.journal.add_up()
    assert await counted(storage) == (0, Counter(cheap=12), 12)
    await storage.journal.add_up()
    assert await counted(storage) == (0, Counter(cheap=12), 12)


async def test_reports_never_lag(storage, make) -> None:
    made = make.decision()
    await storage.decisions.append([made])
    [cheap] = [row for row in await storage.reports.arm_totals("default", None) if row["arm"] == "cheap"]
    entropy = -sum(p * math.log(p) for p in made.probability.tolist() if p > 0.0)
    assert (cheap["decisions"], cheap["entropy_sum"]) == (1, pytest.approx(entropy))
    await storage.decisions.append([make.decision()])
    assert (await storage.arms.usage("default"))["cheap"].decisions == 2
    await storage.decisions.append([make.decision()])
    assert (await storage.reports.totals())["decision"] == 3


async def test_replicas_that_add_up_at_once_count_nothing_twice(storage, open_replica, make) -> None:
    async with open_replica() as second:
        for i in range(20):
            await storage.decisions.append([make.decision(make.now_us + i)])
        await asyncio.gather(*(one.journal.add_up() for one in (storage, second) * 5))
        assert await counted(storage) == (0, Counter(cheap=20), 20)


async def test_what_a_dead_replica_left_is_counted_by_another_whatever_its_clock_said(
    storage, open_replica, make
) -> None:
    async with open_replica("dead") as dead:
        await dead.decisions.append([make.decision(make.now_us - 3_600_000_000)])
        await dead.decisions.append([make.decision(make.now_us + 3_600_000_000)])
    await storage.decisions.append([make.decision()])
    await storage.journal.add_up()
    await storage.decisions.append([make.decision(make.now_us - 7_200_000_000)])
    await storage.journal.add_up()
    assert await counted(storage) == (0, Counter(cheap=4), 4)
    buckets = select(rollup.c.bucket_at_us).where(rollup.c.arm == "cheap", rollup.c.decisions > 0).distinct()
    assert len(await storage.database.read(lambda c: c.execute(buckets).all())) == 4


async def test_an_adding_up_that_fails_counts_nothing_and_takes_nothing(
    storage, make, monkeypatch: pytest.MonkeyPatch
) -> None:
    await storage.decisions.append([make.decision()])

    def broken(*_: Any) -> None:
        raise RuntimeError("the power went")

    monkeypatch.setattr(storage.journal._sums, "flush", broken)
    with pytest.raises(RuntimeError):
        await storage.journal.add_up()
    assert await counted(storage) == (1, Counter(), 0)
    monkeypatch.undo()
    await storage.journal.add_up()
    assert await counted(storage) == (0, Counter(cheap=1), 1)


async def test_a_refused_commit_enters_nothing(storage, make) -> None:
    made = make.decision()
    await storage.decisions.append([made])
    with pytest.raises(Exception):  # noqa: B017 - the same id again: either database's own error
        await storage.decisions.append([made])
    await storage.journal.add_up()
    assert await counted(storage) == (0, Counter(cheap=1), 1)
