"""A short mix of what `make chaos` does: nothing acknowledged is lost or counted twice, whatever breaks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.chaos.check import check
from bench.chaos.episode import EpisodeReport, run_episode
from bench.chaos.history import History, Try
from bench.chaos.kept import read_kept
from bench.chaos.nemeses import MENU
from sqlalchemy import Connection, insert

from banditd.storage import open_storage
from banditd.storage.schema import row_count

# Short, so that the mix is: nothing is held longer than what must be outlasted.
QUICK = {"learner": {"lease_s": 1.0, "poll_s": 0.1}}


async def attack(database: str, folder: Path, *names: str, replicas: int = 1) -> EpisodeReport:
    report = await run_episode(
        folder=folder,
        database=database,
        replicas=replicas,
        nemeses=[MENU[name] for name in names],
        seed="test",
        seconds=0.5,
        hold_s=1.5,
        overrides=QUICK,
    )
    assert report.wrong == []
    assert [blow.nemesis for blow in report.blows] == list(names)
    assert report.outcomes["repeated"] > 0
    assert report.learned > 0
    return report


async def test_one_process_keeps_its_word_on_sqlite(tmp_path: Path) -> None:
    report = await attack(f"sqlite:///{tmp_path}/chaos.db", tmp_path, "kill", "freeze")
    assert report.blows[0].hurt > 0


async def test_replicas_keep_their_word_on_postgresql(empty_postgres_url: str, tmp_path: Path) -> None:
    names = ("kill", "freeze", "cut-commit", "drop")
    report = await attack(empty_postgres_url, tmp_path, *names, replicas=2)
    assert report.blows[0].hurt > 0


async def test_the_checker_sees_what_a_real_database_lacks_and_counts_twice(database_url: str) -> None:
    """A control: a checker that finds nothing wrong in any database would make the tests above worthless."""
    told: dict[str, Any] = {"policy": "default", "replica": 0, "start_s": 0.0, "end_s": 1.0, "status": 200}
    route, usage = Try(marker="a", kind="route", **told), Try(marker="b", kind="usage", subject="d", **told)
    async with open_storage(database_url, writer_name="test") as storage:
        await storage.database.write(_miscount)
    assert sorted(check(History([route, usage]), read_kept(database_url, {}, {}))) == [
        "3 rows of reward_event are counted, 0 are there",
        "route a was acknowledged and is lost",
        "usage b was acknowledged and is lost",
        "usage of d says None, and b was acknowledged last",
    ]


def _miscount(connection: Connection) -> None:
    """As if events had been counted that are not there."""
    connection.execute(insert(row_count), {"name": "reward_event", "writer": "somebody", "rows": 3})
