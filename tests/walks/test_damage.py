"""Rows that are damaged, or older than the release, amid a daemon that runs: the rest goes on and is counted."""

from __future__ import annotations

import logging

import pytest
from sqlalchemy import Connection, update
from tests.walks.conftest import OpenDaemon
from tests.walks.test_repair import CLUSTER_SUMS, assert_counted, change, counted, fill, of, refolded
from tests.walks.test_reward_walk import reward, route

from banditd.core.errors import InvariantError
from banditd.ope.fixed import FIXED_ARM_SUMS
from banditd.services.reports.savings import fixed_arm_sums
from banditd.storage.schema import arm_total, contribution, decision, rollup


async def test_the_integrity_job_reads_every_row_in_time(open_daemon: OpenDaemon, database_url: str) -> None:
    async with open_daemon() as daemon:
        ids = [await route(daemon) for _ in range(9)]
        change(
            database_url,
            lambda c: c.execute(update(decision).where(decision.c.decision_id == ids[7]).values(cluster=1)),
        )
        job = next(job for job in daemon.jobs._jobs.values() if job.name == "integrity")
        job.run.__self__._sample = 4
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


async def test_a_reward_taken_back_that_waits_in_the_queue_still_counts_until_it_is_folded(
    open_daemon: OpenDaemon, database_url: str
) -> None:
    async with open_daemon() as daemon:
        decision_id = await route(daemon)
        receipt = await reward(daemon, decision_id, 0.5)
        await daemon.learner.drained()
        await daemon.learner.stop()
        await daemon.services.rewards.retract(receipt.reward_id)
    report = await refolded(database_url)
    assert (report.agrees, report.queued) == (True, 1)
    await refolded(database_url, write=True)
    assert (await refolded(database_url)).agrees
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
    await refolded(database_url, write=True)
    assert_counted(counted(database_url), whole)
    change(database_url, forget)
    async with open_daemon() as daemon:
        for decision_id in ids:
            await reward(daemon, decision_id, 0.25)
        await daemon.learner.drained()
        rows = await daemon.storage.reports.arm_totals("default", None)  # every fourth is the other policy's
        assert sum(fixed_arm_sums(row).drawn for row in rows) == sum(number % 4 != 3 for number in range(len(ids)))
        assert min(fixed_arm_sums(row).inverse_probability for row in rows) >= 0.0
