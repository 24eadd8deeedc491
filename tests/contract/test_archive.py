"""Backup, restore and copy over real databases: every table, all or nothing, nothing overwritten unasked."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Double,
    Identity,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    func,
    insert,
    select,
    text,
)

from banditd.core.errors import (
    BanditdError,
    ConfigurationError,
    ConflictError,
    InvalidInputError,
    StorageUnavailableError,
)
from banditd.storage import dialect, head_revision, migrate, open_storage
from banditd.storage.archive import backup, copied_tables, copy_database, files, restore
from banditd.storage.archive.tables import copy_rows
from banditd.storage.schema import lease, metadata
from banditd.storage.secrets import load_secrets

Rows = dict[str, list[tuple[object, ...]]]


def quiet(_what: str, _done: int, _total: int | None) -> None:
    """Nobody watches."""


@contextlib.contextmanager
def connected(url: str) -> Iterator[Connection]:
    engine = dialect.make_engine(dialect.normalise_url(url), pool_size=1, busy_timeout_s=5)
    try:
        with dialect.writing(engine).begin() as connection:
            yield connection
    finally:
        engine.dispose()


def fill(url: str, rows: int = 3) -> None:
    """Rows in every table there is, with values that are easily lost: extremes, empty and odd texts, null bytes."""
    with connected(url) as connection:
        for table in metadata.sorted_tables:
            connection.execute(table.delete())
            connection.execute(insert(table), [_row(table, number) for number in range(rows)])


def _row(table: Table, number: int) -> dict[str, object]:
    made: dict[str, object] = {}
    for column in table.columns:
        if column.nullable and number == 0:
            made[column.name] = None
        elif isinstance(column.type, Text):
            made[column.name] = f"key {number}" if column.primary_key or column.foreign_keys else f"'ä\n🎲\" {number}"
        elif isinstance(column.type, LargeBinary):
            made[column.name] = bytes(range(256)) * number
        elif isinstance(column.type, Boolean):
            made[column.name] = bool(number % 2)
        elif isinstance(column.type, Double):
            made[column.name] = [0.1 + 0.2, -1.7e308, 5e-324][number % 3]
        else:
            assert isinstance(column.type, Integer), f"a kind of column that this test cannot fill: {column!r}"
            made[column.name] = number + (2**62 if column.type.__visit_name__ == "big_integer" else 7)
    for name in ("expires_at_us",):
        if table is lease:
            made[name] = number  # long over
    return made


def contents(url: str) -> Rows:
    with connected(url) as connection:
        return {
            table.name: sorted(map(tuple, connection.execute(select(table))), key=repr)
            for table in metadata.sorted_tables
            if table is not lease
        }


@pytest.fixture
def other_url(request: pytest.FixtureRequest, database_url: str) -> Callable[[str], str]:
    """A database without tables, of the kind that is asked for."""
    return lambda kind: str(request.getfixturevalue(f"empty_{kind}_url"))


# ---------------------------------------------------------------- all of it


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_copy_has_every_row_of_every_table(database_url: str, other_url: Callable[[str], str], kind: str) -> None:
    fill(database_url)
    to = other_url(kind)
    moved = copy_database(database_url, to, progress=quiet)
    there = contents(to)
    assert there == contents(database_url)
    assert set(there) == set(metadata.tables) - {"lease"}
    assert all(len(rows) == 3 for rows in there.values())
    assert moved.decisions == 3
    assert moved.revision == head_revision()


def test_a_table_that_is_added_later_is_copied_and_counts_on(postgres_url: str, empty_sqlite_url: str) -> None:
    later = MetaData()
    parent = Table("parent", later, Column("name", Text, primary_key=True))
    child = Table(
        "a_child",
        later,
        Column("number", Integer, Identity(), primary_key=True),
        Column("parent", Text, nullable=False),
    )
    assert copied_tables(later) == [child, parent] or copied_tables(later) == [parent, child]
    with connected(empty_sqlite_url) as source, connected(postgres_url) as target:
        for connection in (source, target):
            later.create_all(connection)
        source.execute(insert(parent), [{"name": "p"}])
        source.execute(insert(child), [{"number": 41, "parent": "p"}])
        assert copy_rows(source, target, quiet, tables=later) == {"parent": 1, "a_child": 1}
        target.execute(insert(child), {"parent": "p"})
        assert target.execute(select(func.max(child.c.number))).scalar() == 42


def test_long_rows_are_copied_in_batches_of_few(sqlite_url: str, empty_postgres_url: str) -> None:
    with connected(sqlite_url) as connection:
        table = metadata.tables["decision"]
        for number in range(40):
            connection.execute(
                insert(table), _row(table, 1) | {"decision_id": f"d{number}", "input_text": "x" * 400_000}
            )
    steps: list[int] = []
    copy_database(
        sqlite_url,
        empty_postgres_url,
        progress=lambda what, done, _: steps.append(done) if what == "decision" else None,
    )
    assert steps[-1] == 40
    assert max(b - a for a, b in itertools.pairwise(steps)) <= 64


def test_a_backup_of_either_database_restores_into_either(
    database_url: str, tmp_path: Path, empty_sqlite_url: str, empty_postgres_url: str
) -> None:
    fill(database_url)
    before = contents(database_url)
    file = tmp_path / "backup.db"
    backup(database_url, file, progress=quiet)
    assert [path.name for path in tmp_path.glob("*backup*")] == ["backup.db"]
    for target in (empty_sqlite_url, empty_postgres_url):
        restore(file, target, progress=quiet)
        assert contents(target) == before
        with connected(target) as connection:
            held = connection.execute(select(lease.c.holder).where(lease.c.expires_at_us > 10)).all()
        assert held == []


def test_a_backup_is_one_moment_although_a_writer_goes_on(database_url: str, tmp_path: Path) -> None:
    """Each commit raises two tables together: a backup of two moments would have more of one."""
    stop, begun = threading.Event(), threading.Event()
    table, counted = metadata.tables["session"], metadata.tables["job_run"]

    def write() -> None:
        number = 0
        while not stop.is_set():
            with connected(database_url) as connection:
                connection.execute(insert(table), _row(table, 1) | {"session_id": f"s{number}"})
                connection.execute(insert(counted), _row(counted, 1) | {"job": f"s{number}"})
            number += 1
            begun.set()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        begun.wait()
        for number in range(3):
            backup(database_url, tmp_path / f"{number}.db", progress=quiet)
    finally:
        stop.set()
        thread.join()
    for number in range(3):
        there = contents(files.url_of(tmp_path / f"{number}.db"))
        assert len(there["session"]) == len(there["job_run"]) > 0


# ---------------------------------------------------------------- nothing unasked


def test_rows_are_overwritten_only_when_told(database_url: str, tmp_path: Path) -> None:
    backup(database_url, tmp_path / "empty.db", progress=quiet)
    fill(database_url)
    before = contents(database_url)
    with pytest.raises(ConflictError, match="not empty"):
        restore(tmp_path / "empty.db", database_url, progress=quiet)
    assert contents(database_url) == before
    moved = restore(tmp_path / "empty.db", database_url, overwrite=True, progress=quiet)
    assert moved.decisions == 0
    assert contents(database_url)["decision"] == []
    if moved.kept is not None:
        assert contents(f"sqlite:///{moved.kept}") == before


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_copy_refuses_a_target_with_rows(sqlite_url: str, postgres_url: str, kind: str, tmp_path: Path) -> None:
    target = postgres_url if kind == "postgres" else f"sqlite:///{tmp_path / 'other.db'}"
    migrate(target)
    fill(target, rows=1)
    before = contents(target)
    with pytest.raises(ConflictError, match="not empty"):
        copy_database(sqlite_url, target, progress=quiet)
    assert contents(target) == before
    with pytest.raises(InvalidInputError, match="itself"):
        copy_database(target, target, progress=quiet)


def test_a_copy_names_the_rows_that_no_column_can_hold(sqlite_url: str, empty_postgres_url: str) -> None:
    fill(sqlite_url)
    with sqlite3.connect(sqlite_url.removeprefix("sqlite:///")) as file:
        file.execute("update reward_event set reward = 'abc' where rowid = 1")
    with pytest.raises(InvalidInputError, match=r"a row of reward_event .*nothing was copied"):
        copy_database(sqlite_url, empty_postgres_url, progress=quiet)


def test_a_copy_that_is_stopped_leaves_nothing_and_can_be_begun_again(sqlite_url: str, postgres_url: str) -> None:
    fill(sqlite_url)

    def stop(what: str, _done: int, _total: int | None) -> None:
        if what == "usage_report":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copy_database(sqlite_url, postgres_url, progress=stop)
    assert contents(postgres_url)["decision"] == []
    copy_database(sqlite_url, postgres_url, progress=quiet)
    assert contents(postgres_url) == contents(sqlite_url)


def test_an_existing_backup_stays_unless_told_and_until_the_next_is_whole(sqlite_url: str, tmp_path: Path) -> None:
    file = tmp_path / "backup.db"
    backup(sqlite_url, file, progress=quiet)
    whole = file.read_bytes()
    with pytest.raises(ConflictError, match="exists"):
        backup(sqlite_url, file, progress=quiet)

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        backup(sqlite_url, file, overwrite=True, progress=stop)
    assert file.read_bytes() == whole
    assert list(tmp_path.glob("*unfinished*")) == []
    with pytest.raises(InvalidInputError, match="itself"):
        backup(sqlite_url, Path(sqlite_url.removeprefix("sqlite:///")), overwrite=True, progress=quiet)


async def test_a_target_that_was_only_opened_is_empty_and_gets_the_secret(
    sqlite_url: str, database_url: str, tmp_path: Path
) -> None:
    source = f"sqlite:///{tmp_path / 'source.db'}"
    migrate(source)
    for url in (source, database_url):
        async with open_storage(url, writer_name="once") as storage:
            await load_secrets(storage.database, 1)
    await asyncio.to_thread(copy_database, source, database_url, progress=quiet)
    assert contents(database_url)["secret"] == contents(source)["secret"] != []


async def test_a_database_in_use_is_neither_replaced_nor_copied_away(database_url: str, tmp_path: Path) -> None:
    backup(database_url, tmp_path / "backup.db", progress=quiet)
    async with open_storage(database_url, writer_name="daemon") as storage:
        import time

        now_us = time.time_ns() // 1000
        await storage.leases.acquire("learner", "me", ttl_s=60, now_us=now_us)
        with pytest.raises(ConflictError, match="stop it first"):
            restore(tmp_path / "backup.db", database_url, overwrite=True, progress=quiet)
        with pytest.raises(ConflictError, match="stop it first"):
            copy_database(database_url, f"sqlite:///{tmp_path / 'moved.db'}", progress=quiet)
        copy_database(database_url, f"sqlite:///{tmp_path / 'moved.db'}", while_serving=True, progress=quiet)
        # A lease from a clock that was a day ahead stops nobody.
        await storage.leases.release("learner", "me")
        await storage.leases.acquire("learner", "me", ttl_s=86_400, now_us=now_us)
        copy_database(database_url, f"sqlite:///{tmp_path / 'again.db'}", progress=quiet)


# ---------------------------------------------------------------- files that are not whole


def _crash(path: Path) -> None:
    """Leave the file as a killed daemon does: with a log beside it that is not in it yet."""
    living = path.with_name("living.db")
    path.replace(living)
    connection = sqlite3.connect(living, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    for number in range(200):
        connection.execute(
            "INSERT INTO session VALUES ('default', ?, 'a', 'd', 1)", (f"crashed {number}" + "x" * 3000,)
        )
    for suffix in ("", "-wal"):
        shutil.copyfile(f"{living}{suffix}", f"{path}{suffix}")
    connection.close()


@pytest.mark.parametrize("present", ["whole", "damaged", "gone"])
def test_the_log_of_a_crashed_database_never_gets_into_what_is_restored(
    sqlite_url: str, tmp_path: Path, present: str
) -> None:
    path = Path(sqlite_url.removeprefix("sqlite:///"))
    fill(sqlite_url)
    before = contents(sqlite_url)
    backup(sqlite_url, tmp_path / "backup.db", progress=quiet)
    _crash(path)
    if present == "damaged":
        path.write_bytes(b"SQLite format 3\x00" + os.urandom(50_000))
    if present == "gone":
        path.unlink()
    restore(tmp_path / "backup.db", sqlite_url, overwrite=True, progress=quiet)
    assert contents(sqlite_url) == before
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_a_backup_of_a_crashed_database_has_what_is_in_its_log(sqlite_url: str, tmp_path: Path) -> None:
    path = Path(sqlite_url.removeprefix("sqlite:///"))
    _crash(path)
    backup(sqlite_url, tmp_path / "backup.db", progress=quiet)
    assert len(contents(files.url_of(tmp_path / "backup.db"))["session"]) == 200


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _cut_in_a_page(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1000)


def _scribble(path: Path) -> None:
    with path.open("r+b") as file:
        for start in range(4096, path.stat().st_size, 8192):
            file.seek(start)
            file.write(os.urandom(512))


def _text(path: Path) -> None:
    path.write_text("PGDMP this is no SQLite database")


def _other_program(path: Path) -> None:
    path.unlink()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE notes (text)")


@pytest.mark.parametrize("harm", [_cut, _cut_in_a_page, _scribble, _text, _other_program, Path.unlink])
def test_a_file_that_is_not_whole_changes_nothing(
    database_url: str, tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    fill(database_url)
    before = contents(database_url)
    file = tmp_path / "backup.db"
    backup(database_url, file, progress=quiet)
    harm(file)
    with pytest.raises(BanditdError) as refused:
        restore(file, database_url, overwrite=True, progress=quiet)
    assert str(file) in refused.value.message
    assert contents(database_url) == before
    assert list(tmp_path.glob("*unfinished*")) == []


def test_a_backup_of_a_later_release_is_refused(database_url: str, tmp_path: Path) -> None:
    file = tmp_path / "backup.db"
    backup(database_url, file, progress=quiet)
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    with pytest.raises(ConfigurationError, match="9999"):
        restore(file, database_url, overwrite=True, progress=quiet)


def test_a_backup_of_an_older_release_is_migrated_with_its_rows(database_url: str, tmp_path: Path) -> None:
    old = tmp_path / "old.db"
    migrate(files.url_of(old), "0003")
    with contextlib.closing(sqlite3.connect(old)) as connection:
        connection.execute("INSERT INTO session VALUES ('default', 'kept', 'a', 'd', 1)")
        connection.commit()
    files.finish(old)
    bytes_before = old.read_bytes()
    moved = restore(old, database_url, progress=quiet)
    assert moved.revision == head_revision()
    assert [row[1] for row in contents(database_url)["session"]] == ["kept"]
    assert old.read_bytes() == bytes_before


def test_a_damaged_database_is_not_backed_up_as_if_it_were_whole(sqlite_url: str, tmp_path: Path) -> None:
    fill(sqlite_url)
    _scribble(Path(sqlite_url.removeprefix("sqlite:///")))
    with pytest.raises(BanditdError):
        backup(sqlite_url, tmp_path / "backup.db", progress=quiet)
    assert list(tmp_path.glob("*backup*")) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="a small disk of one's own needs root")
def test_a_full_disk_is_said_and_the_former_backup_stays(database_url: str, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.system(f"mount -t tmpfs -o size=2m tmpfs {disk} 2>/dev/null"):  # noqa: S605 - a path of pytest
        pytest.skip("this machine mounts nothing")
    try:
        backup(database_url, disk / "backup.db", progress=quiet)
        whole = (disk / "backup.db").read_bytes()
        with connected(database_url) as connection:
            table = metadata.tables["session"]
            connection.execute(
                insert(table), [_row(table, 1) | {"session_id": f"{n}" + "x" * 1000} for n in range(3000)]
            )
        with pytest.raises(StorageUnavailableError, match="MB are free"):
            backup(database_url, disk / "backup.db", overwrite=True, progress=quiet)
        assert (disk / "backup.db").read_bytes() == whole
        assert [path.name for path in disk.iterdir()] == ["backup.db"]
    finally:
        os.system(f"umount {disk}")  # noqa: S605


def test_a_source_that_is_not_there_is_not_made(tmp_path: Path, empty_postgres_url: str) -> None:
    for work in (
        lambda: backup(f"sqlite:///{tmp_path / 'none.db'}", tmp_path / "b.db", progress=quiet),
        lambda: copy_database(f"sqlite:///{tmp_path / 'none.db'}", empty_postgres_url, progress=quiet),
    ):
        with pytest.raises(InvalidInputError, match=r"no file .*none\.db"):
            work()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ConfigurationError, match="banditd migrate"):
        backup(empty_postgres_url, tmp_path / "b.db", progress=quiet)
    assert list(tmp_path.iterdir()) == []


def test_a_text_that_postgresql_refuses_is_copied_as_it_would_be_stored(
    sqlite_url: str, empty_postgres_url: str
) -> None:
    with connected(sqlite_url) as connection:
        connection.execute(text("INSERT INTO session VALUES ('default', :name, 'a', 'd', 1)"), {"name": "a\x00b"})
    copy_database(sqlite_url, empty_postgres_url, progress=quiet)
    assert [row[1] for row in contents(empty_postgres_url)["session"]] == ["a�b"]
