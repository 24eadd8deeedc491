from __future__ import annotations

import asyncio
import sqlite3
import threading

import pytest
from sqlalchemy import text

from banditd.core.errors import ConfigurationError, NotFoundError, StorageUnavailableError
from banditd.storage.dialect import normalise_url
from banditd.storage.engine import Database
from banditd.storage.migrate import migrate
from banditd.storage.watch import Deadlines


@pytest.fixture
async def database(tmp_path):
    async with Database(f"sqlite:///{tmp_path / 'a.db'}", deadlines=Deadlines(lock_s=0.2)) as opened:
        await opened.write(lambda c: c.execute(text("CREATE TABLE t (n INTEGER PRIMARY KEY)")) and None)
        pool = opened.engine.pool
        yield opened
    assert pool.checkedout() == 0


def _add(n):
    def work(connection):
        connection.execute(text("INSERT INTO t VALUES (:n)"), {"n": n})
        return n

    return work


async def _numbers(database):
    return await database.read(
        lambda connection: list(connection.execute(text("SELECT n FROM t ORDER BY n")).scalars())
    )


async def _while_the_writer_is_busy(database, submit):
    """Have ``submit`` hand in its writes while one transaction runs: they form the next group."""
    go, busy = threading.Event(), threading.Event()

    def wait(_connection):
        busy.set()
        go.wait(5)

    first = asyncio.ensure_future(database.write(wait))
    await asyncio.to_thread(busy.wait, 5)
    tasks = [asyncio.ensure_future(one) for one in submit()]
    await asyncio.sleep(0.02)
    go.set()
    await first
    return await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_commit_makes_no_file_of_its_own(database):
    def temporary_files_in_memory(connection):
        return connection.execute(text("PRAGMA temp_store")).scalar() == 2

    assert await database.write(temporary_files_in_memory)
    # A report may have more to sort than fits into memory.
    assert not await database.read(temporary_files_in_memory)


async def test_waiting_writes_share_one_transaction(database):
    transactions = []

    def note(connection):
        transactions.append(id(connection))

    await _while_the_writer_is_busy(database, lambda: [database.write(note) for _ in range(50)])
    assert len(transactions) == 50
    assert len(set(transactions)) == 1


async def test_like_writes_are_handed_over_together(database):
    calls = []

    def handler(_connection, payloads):
        calls.append(list(payloads))
        return [payload * 2 for payload in payloads]

    answers = await _while_the_writer_is_busy(
        database, lambda: [database.write_batched(handler, n) for n in range(5)]
    )
    assert calls == [[0, 1, 2, 3, 4]]
    assert answers == [0, 2, 4, 6, 8]


async def test_a_failing_write_is_alone_in_failing(database):
    await database.write(_add(3))
    answers = await _while_the_writer_is_busy(database, lambda: [database.write(_add(n)) for n in range(6)])
    assert [type(answer).__name__ for answer in answers] == ["int", "int", "int", "IntegrityError", "int", "int"]
    assert await _numbers(database) == [0, 1, 2, 3, 4, 5]


async def test_a_write_that_raises_leaves_nothing_of_itself(database):
    def half(connection):
        _add(1)(connection)
        raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        await database.write(half)
    assert await _numbers(database) == []


async def test_a_refusal_is_raised_and_the_group_goes_on_in_one_transaction(database):
    transactions = []

    def refuse(connection):
        transactions.append(id(connection))
        return NotFoundError("nothing here")

    answers = await _while_the_writer_is_busy(
        database, lambda: [database.write(_add(1)), database.write(refuse), database.write(_add(2))]
    )
    assert [type(answer).__name__ for answer in answers] == ["int", "NotFoundError", "int"]
    assert len(transactions) == 1
    assert await _numbers(database) == [1, 2]


async def test_a_cancelled_caller_does_not_stop_the_write_nor_the_others(database):
    def cancel_the_first():
        tasks = [asyncio.ensure_future(database.write(_add(n))) for n in range(3)]
        asyncio.get_running_loop().call_later(0.005, tasks[0].cancel)
        return tasks

    answers = await _while_the_writer_is_busy(database, cancel_the_first)
    assert [type(answer).__name__ for answer in answers] == ["CancelledError", "int", "int"]
    assert await _numbers(database) == [0, 1, 2]


async def test_closing_commits_what_was_handed_in(tmp_path):
    url = f"sqlite:///{tmp_path / 'a.db'}"
    async with Database(url) as opened:
        await opened.write(lambda c: c.execute(text("CREATE TABLE t (n INTEGER PRIMARY KEY)")) and None)
        waiting = [asyncio.ensure_future(opened.write(_add(n))) for n in range(600)]
        await asyncio.sleep(0)
    assert await asyncio.gather(*waiting) == list(range(600))
    async with Database(url) as opened:
        assert len(await _numbers(opened)) == 600


async def test_a_database_locked_by_another_process_is_unavailable_and_then_well(database):
    other = sqlite3.connect(database.url.database, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    answers = await asyncio.gather(*(database.write(_add(n)) for n in range(5)), return_exceptions=True)
    assert {type(answer) for answer in answers} == {StorageUnavailableError}
    assert await _numbers(database) == []  # reading goes on meanwhile
    other.execute("ROLLBACK")
    other.close()
    assert await database.write(_add(1)) == 1


async def test_a_read_sees_one_state(database):
    await database.write(_add(1))
    between = threading.Event()
    written = threading.Event()

    def twice(connection):
        count = text("SELECT count(*) FROM t")
        first = connection.execute(count).scalar()
        between.set()
        written.wait(5)
        return first, connection.execute(count).scalar()

    reading = asyncio.ensure_future(database.read(twice))
    await asyncio.to_thread(between.wait, 5)
    await database.write(_add(2))
    written.set()
    assert await reading == (1, 1)


@pytest.mark.usefixtures("durable_files")
async def test_sqlite_connections_are_durable_and_check_references(database):
    def settings(connection):
        return {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }

    expected = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 200}
    assert await database.read(settings) == expected
    assert await database.write(settings) == expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("sqlite:///data/a.db", "sqlite:///data/a.db"),
        ("sqlite:////data/a.db", "sqlite:////data/a.db"),
        ("postgresql://me@host/db", "postgresql+psycopg://me@host/db"),
        ("postgres://me@host/db", "postgresql+psycopg://me@host/db"),
        ("postgresql+asyncpg://me@host/db", "postgresql+psycopg://me@host/db"),
    ],
)
def test_urls_get_our_driver(url, expected):
    assert normalise_url(url).render_as_string(hide_password=False) == expected


@pytest.mark.parametrize("url", ["", "nonsense", "sqlite://", "sqlite:///:memory:", "mysql://h/db"])
def test_urls_that_cannot_work_are_refused(url):
    with pytest.raises(ConfigurationError, match=r"database\.url"):
        normalise_url(url)


async def test_a_database_that_cannot_be_reached_is_unavailable(tmp_path):
    (tmp_path / "file").write_text("")
    nowhere = f"postgresql://nobody@/nothing?host={tmp_path}"
    async with Database(nowhere, deadlines=Deadlines(lock_s=1)) as opened:
        with pytest.raises(StorageUnavailableError):
            await opened.read(lambda connection: connection.execute(text("SELECT 1")).scalar())
        with pytest.raises(StorageUnavailableError):
            await opened.write(lambda connection: connection.execute(text("SELECT 1")).scalar())


async def test_a_file_that_is_no_database_is_named_as_the_fault(tmp_path):
    (tmp_path / "a.db").write_text("not a database at all, but long enough to have a header" * 9)
    url = f"sqlite:///{tmp_path / 'a.db'}"
    with pytest.raises(ConfigurationError, match="not a whole SQLite database"):
        migrate(url)
    async with Database(url) as opened:
        with pytest.raises(ConfigurationError, match="not a whole SQLite database"):
            await opened.read(lambda connection: None)


def test_a_folder_that_cannot_be_made_is_named_as_the_fault(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="cannot be made"):
        Database(f"sqlite:///{tmp_path / 'file' / 'below' / 'a.db'}")


def test_folders_of_the_database_file_are_made(tmp_path):
    path = tmp_path / "var" / "lib" / "a.db"
    migrate(f"sqlite:///{path}")
    assert path.is_file()


def test_migrating_what_does_not_answer_says_why(tmp_path):
    with pytest.raises(StorageUnavailableError, match=r"not migrated: .+"):
        migrate(f"postgresql://nobody@/nothing?host={tmp_path}")


async def test_postgres_connections_that_were_cut_are_replaced(postgres_url):
    def end_the_others(connection):
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )

    def one(connection):
        return connection.execute(text("SELECT 1")).scalar()

    async with Database(postgres_url) as opened, Database(postgres_url) as other:
        assert (await opened.read(one), await opened.write(one)) == (1, 1)
        await other.write(end_the_others)
        assert (await opened.read(one), await opened.write(one)) == (1, 1)
        assert opened.engine.pool.checkedout() == 1  # the writer keeps one


@pytest.mark.parametrize("url", ["postgresql://me:HIDDEN/x@[::1/db", "postgresql://me:HIDDEN@host:port/db"])
def test_an_address_that_cannot_be_read_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ConfigurationError, match="%2F for /") as refused:
        normalise_url(url)
    assert "HIDDEN" not in str(refused.value)
    assert refused.value.__cause__ is None
