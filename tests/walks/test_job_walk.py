"""The background jobs over a real database: who runs them, and what a restart or a move of the clock changes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Connection, text
from tests.walks.conftest import OpenDaemon, ShiftedClock

from banditd.core.errors import InvariantError, StorageUnavailableError
from banditd.core.types import Query

NAMED = ("default_rewards", "usage_silence", "rollup", "retention", "integrity")


async def test_every_job_runs_again_right_after_a_restart(open_daemon: OpenDaemon) -> None:
    for time in (1, 2):
        async with open_daemon() as daemon:
            for name in NAMED:
                await daemon.jobs.run_now(name)
            runs = {row["job"]: row["runs"] for row in await daemon.storage.jobs.runs()}
            assert runs == dict.fromkeys(NAMED, time)
            holders = {await daemon.storage.leases.holder(f"job:{name}") for name in NAMED}
            assert len(holders) == 1
            assert None not in holders


async def test_closing_leaves_the_leases_of_others_alone(open_daemon: OpenDaemon) -> None:
    async with open_daemon() as second:
        async with open_daemon() as first:
            await first.jobs.run_now("rollup")
            await second.jobs.run_now("retention")
            await first.jobs.run_now("retention")
        assert await second.storage.leases.holder("job:rollup") is None
        assert await second.storage.leases.holder("job:retention") is not None


async def test_a_daemon_closes_though_the_database_takes_no_lease_back(
    open_daemon: OpenDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_daemon() as daemon:
        await daemon.jobs.run_now("rollup")
        await daemon.jobs.run_now("retention")
        asked: list[str] = []

        async def release(name: str, holder: str) -> None:
            asked.append(name)
            raise StorageUnavailableError("gone")

        class Leases:
            def __getattr__(self, name: str) -> Any:
                return release if name == "release" else getattr(daemon.storage.leases, name)

        monkeypatch.setattr(daemon.jobs, "_leases", Leases())
    assert len(asked) == 1


async def test_a_decision_that_is_activated_late_is_settled_and_defaulted_like_any_other(
    open_daemon: OpenDaemon, clock: ShiftedClock
) -> None:
    rules = {"reward": {"default_reward": 0.25, "window_s": 48 * 3600}}
    async with open_daemon(budgets=[{"name": "cap", "usd": 10, "per": "month"}], **rules) as daemon:

        async def run_jobs() -> None:
            for name in ("usage_silence", "default_rewards"):
                await daemon.jobs.run_now(name)

        async def charged() -> float:
            totals = await daemon.storage.budgets.dearest("default", "cap", window_at_us, 1)
            return totals[0][1].charged_usd

        await run_jobs()
        query = Query(text="hello", candidates=("large",), defer_activation=True)
        late, never = [await daemon.services.routing.route(query) for _ in range(2)]
        window_at_us = late.charges[0].key.window_at_us
        cost = float(late.cost_usd[0])
        for clock.hours in (25, 49):
            await run_jobs()
        assert await charged() == pytest.approx(0.0)
        clock.hours = 50
        assert await daemon.services.rewards.activate(late.decision_id) == (True, False)
        assert await charged() == pytest.approx(cost)
        for clock.hours in (51, 75):
            await run_jobs()
        row, other = [await daemon.storage.decisions.get(one.decision_id) for one in (late, never)]
        assert row is not None
        assert other is not None
        assert row["usage"]["cost_usd"] == pytest.approx(cost)  # type: ignore[index]
        assert [event["reward"] for event in row["rewards"]] == [0.25]  # type: ignore[attr-defined]
        assert other["usage"]["cost_usd"] == 0.0  # type: ignore[index]
        assert other["rewards"] == []
        assert await charged() == pytest.approx(cost)
        assert (await daemon.services.reports.stats("default", None))["spend_usd"] == pytest.approx(cost)


async def test_what_is_kept_of_a_failed_job_holds_no_text_of_a_statement(
    open_daemon: OpenDaemon, caplog: pytest.LogCaptureFixture
) -> None:
    """A library's error says what it was about; ours are written to be read."""
    secret = "a text that somebody sent"

    async def breaks() -> None:
        def work(connection: Connection) -> None:
            connection.execute(text("SELECT * FROM nowhere WHERE a = :a"), {"a": secret})

        await daemon.storage.database.read(work)

    async def ours() -> None:
        raise InvariantError("the rows of 3 decisions are damaged")

    async with open_daemon() as daemon:
        for run, kept in ((breaks, ""), (ours, "INVARIANT: the rows of 3 decisions are damaged")):
            daemon.jobs._jobs["rollup"] = replace(daemon.jobs._jobs["rollup"], run=run)
            await daemon.jobs.run_now("rollup")
            [row] = [row for row in await daemon.storage.jobs.runs() if row["job"] == "rollup"]
            assert kept in str(row["error"])
            assert row["error"]
            assert secret not in str(row["error"])
            assert "SELECT" not in str(row["error"])
        assert secret not in "".join(str(record.exc_info) for record in caplog.records)


async def test_the_log_has_a_failure_of_a_job_once_an_outage(
    open_daemon: OpenDaemon, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_daemon() as daemon:
        caplog.set_level("INFO", "banditd")
        full, bug = StorageUnavailableError("the disk is full"), InvariantError("a bug")
        failure: Exception | None = None

        async def add_up() -> None:
            if failure is not None:
                raise failure

        monkeypatch.setitem(daemon.jobs._jobs, "sums", replace(daemon.jobs._jobs["sums"], run=add_up))
        outages: tuple[Exception | None, ...] = (full, None, full, bug, None, None)
        for outage in outages:
            failure = outage
            for _ in range(3):
                await daemon.jobs.run_now("sums")
    of_jobs = [one for one in caplog.records if one.getMessage().startswith("job.") and one.job == "sums"]  # type: ignore[attr-defined]
    failed, again = "job.failed", "job.works_again"
    assert [one.getMessage() for one in of_jobs] == [failed, again, failed, failed, again]
