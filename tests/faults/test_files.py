"""The database's files: lost under the daemon, on a disk that is full, and the log beside them."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, text

from banditd.core.errors import DatabaseDamagedError, StorageUnavailableError
from banditd.core.types import Query
from banditd.daemon.open import Daemon, open_services
from banditd.ports import DecisionFilter
from banditd.settings import Settings
from banditd.storage import checkpoints, open_storage
from banditd.storage.engine import Database

ARMS = [
    {"arm": "small", "price": {"usd_per_mtok_in": 0.1, "usd_per_mtok_out": 0.4}},
    {"arm": "large", "price": {"usd_per_mtok_in": 3.0, "usd_per_mtok_out": 15.0}},
]


def settings_of(url: str) -> Settings:
    return Settings(
        database={"url": url},
        learner={"pause_ms": 0, "poll_s": 0.05, "lease_s": 1},
        policies={"default": {"arms": ARMS}},
    )


async def routed(daemon: Daemon) -> str:
    return (await daemon.services.routing.route(Query(policy="default", text="a question"))).decision_id


async def test_a_moved_database_file_refuses_writes_and_readiness(tmp_path: Path, sqlite_url: str) -> None:
    file = tmp_path / "banditd.db"
    async with open_services(settings_of(sqlite_url), start_jobs=False) as daemon:
        await routed(daemon)
        file.rename(tmp_path / "away.db")
        with pytest.raises(StorageUnavailableError, match=r"is gone .*nothing was stored") as told:
            await routed(daemon)
        assert told.value.code == "DATABASE_FILE_LOST"
        ready, parts = await daemon.health.readiness()
        assert not ready
        assert "is gone" in str(parts["database"])
        assert not file.exists()  # no empty one was made in its place
        (tmp_path / "away.db").rename(file)
        await routed(daemon)
        assert (await daemon.health.readiness())[0]


async def test_a_database_file_that_was_cut_off_is_named_as_damaged(tmp_path: Path, sqlite_url: str) -> None:
    async with open_services(settings_of(sqlite_url), start_jobs=False) as daemon:
        await routed(daemon)
    with (tmp_path / "banditd.db").open("r+b") as file:
        file.truncate(8192)
    with pytest.raises(DatabaseDamagedError, match="put a backup in its place"):
        async with open_storage(sqlite_url, writer_name="test") as storage:
            await storage.decisions.page(DecisionFilter(limit=1))


@pytest.mark.parametrize("what", ["deleted", "replaced", "log deleted", "folder moved"])
async def test_a_database_file_that_is_lost_otherwise_refuses_writes(
    tmp_path: Path, sqlite_template: Path, what: str
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    file = folder / "banditd.db"
    shutil.copyfile(sqlite_template, file)
    async with open_storage(f"sqlite:///{file}", writer_name="test") as storage:
        await storage.jobs.set_cursor("x", 1)
        if what == "deleted":
            file.unlink()
        elif what == "replaced":
            file.rename(folder / "old.db")
            shutil.copyfile(sqlite_template, file)
        elif what == "log deleted":
            (folder / "banditd.db-wal").unlink()
        else:
            folder.rename(tmp_path / "elsewhere")
        with pytest.raises(StorageUnavailableError, match="nothing was stored") as told:
            await storage.jobs.set_cursor("x", 2)
        assert told.value.code == "DATABASE_FILE_LOST"


async def test_readiness_fails_after_a_write_that_failed_and_recovers(sqlite_url: str) -> None:
    async with open_services(settings_of(sqlite_url), start_jobs=False) as daemon:
        await daemon.learner.stop()  # its lease would be written, too
        pages = await daemon.storage.database.read(lambda c: c.execute(text("PRAGMA page_count")).scalar())

        def limit(pages: int) -> Any:
            return lambda c: c.execute(text(f"PRAGMA max_page_count = {pages}")) and None

        await daemon.storage.database.write(limit(int(pages or 0)))  # a disk that is full
        failures: list[str] = []
        while not failures:
            try:
                await routed(daemon)
            except StorageUnavailableError as error:
                failures.append(error.message)
        assert "nothing was stored" in failures[0]
        ready, parts = await daemon.health.readiness()
        assert not ready
        assert "last write failed" in str(parts["database"])
        for _ in range(8):  # the setting is one of a connection
            await daemon.storage.database.write(limit(1_000_000))
        await routed(daemon)
        assert (await daemon.health.readiness())[0]


async def test_the_log_gives_its_space_back_when_a_long_reader_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "INTERVAL_S", 0.01)
    monkeypatch.setattr(checkpoints, "LOOK_AGAIN_S", 0.01)
    monkeypatch.setattr(checkpoints, "LONG_LOG_PAGES", 64)

    async def insert(database: Database) -> None:
        def work(connection: Connection) -> None:
            connection.execute(text("INSERT INTO t VALUES (:v)"), {"v": "x" * 50_000})

        await database.write(work)

    async with Database(f"sqlite:///{tmp_path}/a.db") as database, Database(f"sqlite:///{tmp_path}/a.db") as other:
        await database.write(lambda c: c.execute(text("CREATE TABLE t (v TEXT)")) and None)
        with other.engine.connect() as reader, reader.begin():
            reader.execute(text("SELECT count(*) FROM t")).scalar()
            for _ in range(40):
                await insert(database)
            await asyncio.sleep(0.2)  # what the reader has seen keeps the log from being cut
            assert (database.log_bytes() or 0) > 64 * 4096
        while database.log_bytes():  # noqa: ASYNC110 - another thread does it, without any commit
            await asyncio.sleep(0.01)
        await insert(database)
        kept = await database.read(lambda c: c.execute(text("SELECT count(*) FROM t")).scalar())
        assert kept == 41
