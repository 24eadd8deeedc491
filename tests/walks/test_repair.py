"""What a disk or a hand has damaged is named, and made again from the log where the log has it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, delete, func, select, update
from tests.walks.conftest import OpenDaemon, leads, make_settings
from tests.walks.test_reward_walk import reward, route

from banditd.core.errors import InvariantError
from banditd.daemon.open import Daemon, open_services
from banditd.daemon.workbench import Workbench, open_workbench
from banditd.ope.fixed import FIXED_ARM_SUMS
from banditd.services.learning.rebuild import RebuildReport, rebuild
from banditd.services.upkeep.export import export_log
from banditd.storage import dialect
from banditd.storage.checksum import BLOBS, NUMBERS, TEXTS
from banditd.storage.codec import pack_vector
from banditd.storage.schema import (
    arm_contribution,
    arm_total,
    cluster_stat,
    contribution,
    decision,
    learner_state,
    reward_event,
    rollup,
    segment,
    snapshot,
)

Harm = Callable[[Connection], object]


@dataclass(frozen=True)
class Filled:
    """A database that was filled once; the statistics and the report of its refolding when it was whole."""

    url: str
    ids: list[str]
    statistics: list[tuple[Any, ...]]
    whole: RebuildReport


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def filled(request: pytest.FixtureRequest, module_database: Callable[[str], str]) -> Filled:
    url = module_database(request.param)

    async def make() -> Filled:
        async with open_services(make_settings(url), start_jobs=False) as daemon:
            ids = await fill(daemon)
        async with open_workbench(make_settings(url)) as bench:
            whole = await refold(bench, write=False)
        assert whole.agrees
        return Filled(url, ids, counted(url), whole)

    with ThreadPoolExecutor(1) as pool:  # whose loop is its own
        return pool.submit(lambda: asyncio.run(make())).result()


@pytest.fixture
def database_url(filled: Filled, copy_of: Callable[[str], str]) -> str:
    """A copy of what was filled."""
    return copy_of(filled.url)


async def fill(daemon: Daemon, count: int = 40) -> list[str]:
    """Rewarded decisions with corrections and retractions, all folded."""
    ids = [await route(daemon, policy="other" if number % 4 == 3 else "default") for number in range(count)]
    for number, decision_id in enumerate(ids):
        receipt = await reward(daemon, decision_id, (number % 10) / 10)
        if number % 5 == 0:
            await reward(daemon, decision_id, 0.35)
        if number % 6 == 0:
            for arm in ("small", "large"):  # one of them, or both, did not serve
                await reward(daemon, decision_id, 0.65, source="judge", arm=arm)
        if number % 11 == 10:
            await daemon.services.rewards.retract(receipt.reward_id)
    await daemon.learner.drained()
    return ids


async def refold(bench: Workbench, *, write: bool, policy: str = "default", **more: Any) -> RebuildReport:
    return await rebuild(
        bench.runtimes[policy],
        store=bench.learning,
        leases=bench.storage.leases,
        jobs=bench.storage.jobs,
        clock=bench.clock,
        holder=bench.holder,
        write=write,
        **more,
    )


async def refolded(url: str, *, write: bool = False) -> RebuildReport:
    async with open_workbench(make_settings(url)) as bench:
        return await refold(bench, write=write)


def change(url: str, harm: Harm) -> None:
    engine = dialect.make_engine(dialect.normalise_url(url), pool_size=1, busy_timeout_s=5)
    with dialect.writing(engine).begin() as connection:
        harm(connection)
    engine.dispose()


def counted(url: str) -> list[tuple[Any, ...]]:
    """Every statistic of rewards, by arm; of roll-ups and clusters too."""
    found: list[tuple[Any, ...]] = []

    def look(connection: Connection) -> None:
        for table, keys in ((rollup, ("policy", "arm")), (arm_total, ("policy", "arm"))):
            sums = [func.sum(table.c[name]) for name in SUMS]
            columns = [table.c[key] for key in keys]
            found.extend(
                map(tuple, connection.execute(select(*columns, *sums).group_by(*columns).order_by(*columns)))
            )
        c = cluster_stat.c
        sums = [func.sum(c[name]) for name in CLUSTER_SUMS]
        columns = [c.policy, c.cluster, c.arm]
        found.extend(map(tuple, connection.execute(select(*columns, *sums).group_by(*columns).order_by(*columns))))

    change(url, look)
    return [tuple(float(v) if not isinstance(v, str) else v for v in row) for row in found]


SUMS = ("decisions", "rewards", "weight", "weighted_reward", "weighted_square", *FIXED_ARM_SUMS)
CLUSTER_SUMS = ("decisions", "rewards", "weight", "weighted_reward", "weighted_square")


def assert_counted(one: list[tuple[Any, ...]], other: list[tuple[Any, ...]]) -> None:
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        assert a == pytest.approx(b, abs=1e-9)


def of(table: Any) -> Any:
    return update(table).where(table.c.policy == "default")


def _cut_sums(connection: Connection) -> None:
    for row in connection.execute(select(segment).where(segment.c.policy == "default")).all():
        mine = (segment.c.policy == "default") & (segment.c.arm == row.arm) & (segment.c.epoch == row.epoch)
        connection.execute(update(segment).where(mine).values(sums=row.sums[:-8]))


def _flip_a_bit(connection: Connection) -> None:
    row = connection.execute(select(segment).where(segment.c.policy == "default")).first()
    assert row is not None
    sums = bytearray(row.sums)
    sums[len(sums) // 2] ^= 1
    mine = (segment.c.policy == "default") & (segment.c.arm == row.arm) & (segment.c.epoch == row.epoch)
    connection.execute(update(segment).where(mine).values(sums=bytes(sums)))


def _state(**values: Any) -> Harm:
    return lambda connection: connection.execute(of(learner_state).values(**values))


HARMS: dict[str, tuple[str, Harm]] = {
    "a bit of the sums": ("segment", _flip_a_bit),
    "cut sums of every arm": ("segment", _cut_sums),
    "empty sums": ("segment", lambda c: c.execute(of(segment).values(sums=b""))),
    "no segments": ("", lambda c: c.execute(delete(segment).where(segment.c.policy == "default"))),
    "scales that are no JSON": ("learner_state", _state(hyperparameters='{"a"')),
    "scales of another kind": ("learner_state", _state(hyperparameters="[1]")),
    "counters that are no JSON": ("learner_state", _state(learner="\x01")),
    "counters without names": ("learner_state", _state(learner="{}")),
    "a version below zero": ("learner_state", _state(version=-5)),
    "no state": (
        "learner_state", lambda c: c.execute(delete(learner_state).where(learner_state.c.policy == "default")),
    ),
    "snapshots": ("snapshot", lambda c: c.execute(of(snapshot).values(learner="oh", hyperparameters="no"))),
    "contributions of another value": (
        "contribution", lambda c: c.execute(of(contribution).values(reward=0.123, weight=7.0)),
    ),
    "contributions of another arm": ("contribution", lambda c: c.execute(of(contribution).values(arm="nobody"))),
    "contributions of other arms": (
        "arm_contribution", lambda c: c.execute(of(arm_contribution).values(reward=0.123, weight=7.0)),
    ),
    "no contributions of other arms": (
        "arm_contribution", lambda c: c.execute(
            delete(arm_contribution).where(arm_contribution.c.policy == "default")
        ),
    ),
    "no contributions": (
        "contribution", lambda c: c.execute(delete(contribution).where(contribution.c.policy == "default")),
    ),
}  # fmt: skip


def _all(connection: Connection) -> None:
    for table, harm in HARMS.values():
        if table != "":
            harm(connection)


@pytest.mark.parametrize("name", [*HARMS, "all of it"])
async def test_a_damaged_state_is_named_and_made_again(
    open_daemon: OpenDaemon, database_url: str, filled: Filled, name: str
) -> None:
    table, harm = HARMS.get(name, ("segment", _all))
    change(database_url, harm)

    async with open_workbench(make_settings(database_url)) as bench:
        looked = await refold(bench, write=False)
        assert not looked.agrees
        assert table in {damage.table for damage in looked.damages} or not table
        if table == "segment":
            assert all("default" in d.row for d in looked.damages if d.table == table)
            assert {"small", "large", "vision"} & {
                word for d in looked.damages for word in d.row.replace(",", "").split()
            }
        json.dumps(looked.largest_difference, allow_nan=False)

        written = await refold(bench, write=True)
        assert written.written
        assert {d.table for d in written.damages} == {d.table for d in looked.damages}
        after = await refold(bench, write=False)
        assert after.agrees
        assert after.decisions == filled.whole.decisions
        assert (await refold(bench, write=False, policy="other")).agrees
    assert_counted(counted(database_url), filled.statistics)
    async with open_daemon() as daemon:
        await leads(daemon)
        await reward(daemon, await route(daemon), 0.5)
        await daemon.learner.drained()
    assert (await refolded(database_url)).agrees


async def test_rewriting_a_whole_state_moves_no_statistic(database_url: str, filled: Filled) -> None:
    for _ in range(2):
        assert (await refolded(database_url, write=True)).damages == ()
        assert_counted(counted(database_url), filled.statistics)


@pytest.mark.parametrize("column", [*TEXTS[1:], *NUMBERS, *BLOBS])
async def test_a_damaged_decision_is_named_by_every_check(
    database_url: str, filled: Filled, tmp_path: Path, column: str
) -> None:
    harmed = filled.ids[0]
    wrong: Any = "{}x" if column in TEXTS else 3
    if column in BLOBS:
        wrong = pack_vector([0.5])
    elif column in {"propensity", "uniform", "predicted_cost_usd"}:
        wrong = 0.123456
    if column == "policy":
        wrong = "other"
    row = decision.c.decision_id == harmed
    change(database_url, lambda c: c.execute(update(decision).where(row).values({column: wrong})))
    policy = "other" if column == "policy" else "default"
    async with open_workbench(make_settings(database_url)) as bench:
        report = await refold(bench, write=False, policy=policy)
        assert [(d.table, d.row) for d in report.damages if d.table == "decision"] == [("decision", harmed)]
        assert not report.agrees
        told: list[str] = []
        count = await export_log(
            bench.storage.whole_log, tmp_path / "log.jsonl", damaged=lambda decision_id, _: told.append(decision_id)
        )
        assert (count, told) == (len(filled.ids) - 1, [harmed])
        with pytest.raises(InvariantError, match=harmed):
            await bench.storage.decisions.get(harmed)
        # The rest is refolded; the damaged decision no longer counts.
        await refold(bench, write=True, policy=policy)
        again = await refold(bench, write=False, policy=policy)
    assert [d.row for d in again.damages] == [harmed]
    assert again.largest_difference <= 1e-9
    assert again.contributions_differ == 0


async def test_rows_without_a_checksum_are_taken_as_they_are(database_url: str) -> None:
    change(database_url, lambda c: c.execute(update(decision).values(checksum=None)))
    assert (await refolded(database_url)).agrees


async def test_a_reward_that_cannot_be_learned_is_named(database_url: str, filled: Filled) -> None:
    harmed = filled.ids[1]
    change(
        database_url,
        lambda c: c.execute(
            update(reward_event)
            .where(reward_event.c.decision_id == filled.ids[1])
            .values(noise_variance=float("inf"))
        ),
    )
    report = await refolded(database_url)
    assert [d.row for d in report.damages if d.table == "reward_event"] == [f"of decision {harmed}"]
