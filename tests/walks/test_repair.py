"""What a disk or a hand has damaged is named, and made again from the log where the log has it."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, delete, func, select, update
from tests.walks.conftest import OpenDaemon, leads, make_settings
from tests.walks.test_reward_walk import reward, route

from banditd.core.errors import InvariantError
from banditd.daemon.open import Daemon, open_workbench
from banditd.services.learning.rebuild import RebuildReport, rebuild
from banditd.services.upkeep.export import export_log
from banditd.storage import dialect
from banditd.storage.checksum import BLOBS, NUMBERS, TEXTS
from banditd.storage.codec import pack_vector
from banditd.storage.schema import (
    FIXED_ARM_SUMS,
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


async def fill(daemon: Daemon, count: int = 40) -> list[str]:
    """Rewarded decisions with corrections and retractions, all folded."""
    ids = [await route(daemon, policy="other" if number % 4 == 3 else "default") for number in range(count)]
    for number, decision_id in enumerate(ids):
        receipt = await reward(daemon, decision_id, (number % 10) / 10)
        if number % 5 == 0:
            await reward(daemon, decision_id, 0.35)
        if number % 11 == 10:
            await daemon.services.rewards.retract(receipt.reward_id)
    await daemon.learner.drained()
    return ids


async def refold(url: str, *, write: bool, policy: str = "default") -> RebuildReport:
    async with open_workbench(make_settings(url)) as bench:
        runtime = bench.runtimes[policy]
        return await rebuild(
            policy=policy,
            schema=runtime.builder.schema,
            settings=runtime.config.settings,
            store=bench.storage.learning,
            leases=bench.storage.leases,
            jobs=bench.storage.jobs,
            clock=bench.clock,
            holder=bench.holder,
            write=write,
        )


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
    "no contributions": (
        "contribution", lambda c: c.execute(delete(contribution).where(contribution.c.policy == "default")),
    ),
}  # fmt: skip


def _all(connection: Connection) -> None:
    for table, harm in HARMS.values():
        if table != "":
            harm(connection)


@pytest.mark.parametrize("name", [*HARMS, "all of it"])
async def test_a_damaged_state_is_named_and_made_again(open_daemon: OpenDaemon, database_url: str, name: str) -> None:
    async with open_daemon() as daemon:
        await fill(daemon)
    before, statistics = await refold(database_url, write=False), counted(database_url)
    assert before.agrees
    table, harm = HARMS.get(name, ("segment", _all))
    change(database_url, harm)

    looked = await refold(database_url, write=False)
    assert not looked.agrees
    assert table in {damage.table for damage in looked.damages} or not table
    if table == "segment":
        assert all("default" in d.row for d in looked.damages if d.table == table)
        assert {"small", "large", "vision"} & {
            word for d in looked.damages for word in d.row.replace(",", "").split()
        }
    json.dumps(looked.largest_difference, allow_nan=False)

    written = await refold(database_url, write=True)
    assert written.written
    assert {d.table for d in written.damages} == {d.table for d in looked.damages}
    after = await refold(database_url, write=False)
    assert after.agrees
    assert after.decisions == before.decisions
    assert (await refold(database_url, write=False, policy="other")).agrees
    assert_counted(counted(database_url), statistics)
    async with open_daemon() as daemon:
        await leads(daemon)
        await reward(daemon, await route(daemon), 0.5)
        await daemon.learner.drained()
    assert (await refold(database_url, write=False)).agrees


async def test_rewriting_a_whole_state_moves_no_statistic(open_daemon: OpenDaemon, database_url: str) -> None:
    async with open_daemon() as daemon:
        await fill(daemon)
    statistics = counted(database_url)
    for _ in range(2):
        assert (await refold(database_url, write=True)).damages == ()
        assert_counted(counted(database_url), statistics)


@pytest.mark.parametrize("column", [*TEXTS[1:], *NUMBERS, *BLOBS])
async def test_a_damaged_decision_is_named_by_every_check(
    open_daemon: OpenDaemon, database_url: str, tmp_path: Path, column: str
) -> None:
    async with open_daemon() as daemon:
        ids = await fill(daemon, 9)
    wrong: Any = "{}x" if column in TEXTS else 3
    if column in BLOBS:
        wrong = pack_vector([0.5])
    elif column in {"propensity", "uniform", "predicted_cost_usd"}:
        wrong = 0.123456
    if column == "policy":
        wrong = "other"
    row = decision.c.decision_id == ids[0]
    change(database_url, lambda c: c.execute(update(decision).where(row).values({column: wrong})))
    policy = "other" if column == "policy" else "default"
    report = await refold(database_url, write=False, policy=policy)
    assert [(d.table, d.row) for d in report.damages if d.table == "decision"] == [("decision", ids[0])]
    assert not report.agrees
    async with open_workbench(make_settings(database_url)) as bench:
        told: list[str] = []
        count = await export_log(
            bench.storage.decisions, tmp_path / "log.jsonl", damaged=lambda decision_id, _: told.append(decision_id)
        )
        assert (count, told) == (8, [ids[0]])
        with pytest.raises(InvariantError, match=ids[0]):
            await bench.storage.decisions.get(ids[0])
    # The rest is refolded; the damaged decision no longer counts.
    await refold(database_url, write=True, policy=policy)
    again = await refold(database_url, write=False, policy=policy)
    assert [d.row for d in again.damages] == [ids[0]]
    assert again.largest_difference <= 1e-9
    assert again.contributions_differ == 0


async def test_the_integrity_job_reads_every_row_in_time(open_daemon: OpenDaemon, database_url: str) -> None:
    async with open_daemon() as daemon:
        ids = [await route(daemon) for _ in range(9)]
        change(
            database_url,
            lambda c: c.execute(update(decision).where(decision.c.decision_id == ids[7]).values(cluster=1)),
        )
        job = next(job for job in daemon.jobs._jobs.values() if job.name == "integrity")
        job.run.__self__._integrity_sample = 4
        await job.run()
        with pytest.raises(InvariantError, match=ids[7]):
            await job.run()
        await job.run()


async def test_a_damaged_decision_does_not_stop_the_learner(
    open_daemon: OpenDaemon, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_daemon() as daemon:
        ids = [await route(daemon) for _ in range(3)]
        change(
            database_url,
            lambda c: c.execute(update(decision).where(decision.c.decision_id == ids[0]).values(x=b"\x00" * 8)),
        )
        with caplog.at_level(logging.ERROR):
            for decision_id in ids:
                await reward(daemon, decision_id, 0.5)
            await daemon.learner.drained()
        assert [r.__dict__["decision_id"] for r in caplog.records if r.message == "decision.damaged"] == [ids[0]]
        totals = await daemon.storage.reports.arm_totals("default", None)
        assert sum(int(row["rewards"]) for row in totals) == 2


async def test_rows_without_a_checksum_are_taken_as_they_are(open_daemon: OpenDaemon, database_url: str) -> None:
    async with open_daemon() as daemon:
        await fill(daemon, 8)
    change(database_url, lambda c: c.execute(update(decision).values(checksum=None)))
    assert (await refold(database_url, write=False)).agrees


async def test_a_reward_that_cannot_be_learned_is_named(open_daemon: OpenDaemon, database_url: str) -> None:
    async with open_daemon() as daemon:
        ids = await fill(daemon, 8)
    change(
        database_url,
        lambda c: c.execute(
            update(reward_event).where(reward_event.c.decision_id == ids[1]).values(noise_variance=float("inf"))
        ),
    )
    report = await refold(database_url, write=False)
    assert [d.row for d in report.damages if d.table == "reward_event"] == [f"of decision {ids[1]}"]


async def test_a_reward_taken_back_that_waits_in_the_queue_still_counts_until_it_is_folded(
    open_daemon: OpenDaemon, database_url: str
) -> None:
    async with open_daemon() as daemon:
        decision_id = await route(daemon)
        receipt = await reward(daemon, decision_id, 0.5)
        await daemon.learner.drained()
        await daemon.learner.stop()
        await daemon.services.rewards.retract(receipt.reward_id)
    report = await refold(database_url, write=False)
    assert (report.agrees, report.queued) == (True, 1)
    await refold(database_url, write=True)
    assert (await refold(database_url, write=False)).agrees
    rewards = [row[4] if len(row) == 3 + len(CLUSTER_SUMS) else row[3] for row in counted(database_url)]
    assert set(rewards) == {0.0}


async def test_a_rebuild_counts_what_an_older_release_has_folded_in_the_verdicts(
    open_daemon: OpenDaemon, database_url: str
) -> None:
    """After an upgrade the sums of fixed arms begin at nothing; no correction takes out what is not in them."""

    def forget(connection: Connection) -> None:
        connection.execute(of(contribution).values(estimated_by_design=False))
        for table in (rollup, arm_total):
            connection.execute(of(table).values(dict.fromkeys(FIXED_ARM_SUMS, 0)))

    async with open_daemon() as daemon:
        ids = await fill(daemon, 8)
    whole = counted(database_url)
    change(database_url, forget)
    await refold(database_url, write=True)
    assert_counted(counted(database_url), whole)
    change(database_url, forget)
    async with open_daemon() as daemon:
        for decision_id in ids:
            await reward(daemon, decision_id, 0.25)
        await daemon.learner.drained()
    corrected = counted(database_url)
    await refold(database_url, write=True)
    assert_counted(counted(database_url), corrected)
