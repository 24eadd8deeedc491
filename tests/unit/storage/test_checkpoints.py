"""The write-ahead log is copied beside the writer, and one turn of the loop is one transaction."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from banditd.storage import checkpoints, dialect
from banditd.storage.engine import Database


@pytest.fixture
async def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(checkpoints, "INTERVAL_S", 0.01)
    async with Database(f"sqlite:///{tmp_path}/log.db") as opened:
        await opened.write(lambda connection: connection.execute(text("CREATE TABLE t (v TEXT)")))
        yield opened


async def test_what_is_committed_reaches_the_file_without_the_writer(database: Database, tmp_path: Path) -> None:
    def insert(connection: Connection) -> None:
        connection.execute(text("INSERT INTO t VALUES (:v)"), {"v": "needle" * 100})

    await database.write(insert)
    while b"needle" not in (tmp_path / "log.db").read_bytes():  # noqa: ASYNC110 - another thread copies
        await asyncio.sleep(0.005)


async def test_the_writers_own_commits_never_copy_the_log(database: Database) -> None:
    pages = await database.read(lambda connection: connection.execute(text("PRAGMA wal_autocheckpoint")).scalar())
    assert pages == 0


async def test_only_a_long_log_is_started_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "INTERVAL_S", 3600)  # the thread rests: this test is the checkpointer
    modes: list[tuple[str, int]] = []
    copy = dialect.copy_log

    def noted(engine: Engine, mode: str, **patience: float) -> tuple[int, int]:
        pages, copied = copy(engine, mode, **patience)
        modes.append((mode, pages))
        return pages, copied

    monkeypatch.setattr(dialect, "copy_log", noted)
    monkeypatch.setattr(checkpoints, "LONG_LOG_PAGES", 64)
    async with Database(f"sqlite:///{tmp_path}/log.db") as database:
        await database.write(lambda connection: connection.execute(text("CREATE TABLE t (v TEXT)")))
        checkpointer = checkpoints.Checkpointer(database.engine, database.log_bytes)
        await asyncio.to_thread(checkpointer.checkpoint)
        assert [mode for mode, _ in modes] == ["PASSIVE"]
        for _ in range(40):
            await database.write(
                lambda connection: connection.execute(text("INSERT INTO t VALUES (:v)"), {"v": "x" * 20_000})
            )
        await asyncio.to_thread(checkpointer.checkpoint)
        assert [mode for mode, _ in modes[1:]] == ["PASSIVE", "TRUNCATE"]
        assert modes[1][1] > 64
        assert database.log_bytes() == 0
        kept = await database.read(lambda connection: connection.execute(text("SELECT count(*) FROM t")).scalar())
        assert kept == 40


async def test_writes_of_one_turn_of_the_loop_share_one_call_and_one_commit(database: Database) -> None:
    groups: list[int] = []

    def handler(connection: Connection, payloads: Sequence[int]) -> list[int]:
        groups.append(len(payloads))
        return [payload * 2 for payload in payloads]

    answers = await asyncio.gather(*(database.write_batched(handler, i) for i in range(50)))
    assert answers == [i * 2 for i in range(50)]
    assert groups == [50]


async def test_writes_handed_in_just_before_closing_are_committed(tmp_path: Path) -> None:
    async with Database(f"sqlite:///{tmp_path}/close.db") as database:
        await database.write(lambda connection: connection.execute(text("CREATE TABLE t (v TEXT)")))
        pending = asyncio.ensure_future(
            database.write(lambda connection: connection.execute(text("INSERT INTO t VALUES ('last')")) and None)
        )
        await asyncio.sleep(0)
    await pending
    with sqlite3.connect(tmp_path / "close.db") as other:
        assert other.execute("SELECT v FROM t").fetchall() == [("last",)]
    other.close()


async def test_commits_overwrite_the_room_ahead_and_what_they_store_survives_a_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "INTERVAL_S", 3600)
    async with Database(f"sqlite:///{tmp_path}/log.db") as database:
        await database.write(lambda connection: connection.execute(text("CREATE TABLE t (v TEXT)")))
        before = database.log_bytes() or 0
        await asyncio.to_thread(checkpoints.Checkpointer(database.engine, database.log_bytes).checkpoint)
        made = database.log_bytes()
        assert made == before + checkpoints.ROOM_PAGES * checkpoints.PAGE_BYTES
        for number in range(50):
            await database.write(
                lambda connection, value=f"row {number}" * 100: connection.execute(  # type: ignore[misc]
                    text("INSERT INTO t VALUES (:v)"), {"v": value}
                )
            )
        assert database.log_bytes() == made
        killed = tmp_path / "killed"
        killed.mkdir()
        for suffix in ("", "-wal"):
            (killed / f"log.db{suffix}").write_bytes((tmp_path / f"log.db{suffix}").read_bytes())
        with sqlite3.connect(killed / "log.db") as other:
            assert other.execute("SELECT count(*) FROM t").fetchone() == (50,)
            assert other.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        other.close()


async def test_a_log_is_not_lengthened_until_it_is_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "INTERVAL_S", 3600)
    monkeypatch.setattr(checkpoints, "LONG_LOG_PAGES", checkpoints.ROOM_PAGES)
    async with Database(f"sqlite:///{tmp_path}/log.db") as database:
        await database.write(lambda connection: connection.execute(text("CREATE TABLE t (v TEXT)")))
        before = database.log_bytes()
        await asyncio.to_thread(checkpoints.Checkpointer(database.engine, database.log_bytes).checkpoint)
        assert database.log_bytes() == before
