"""Where SQLite and PostgreSQL differ. Only ``postgres.py`` and ``driver_errors.py`` name a dialect, too.

It knows URLs, connections, ``ON CONFLICT`` and row locks.
"""

from __future__ import annotations

import functools
import logging
import os
import random
import sqlite3
import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, Select, Table, create_engine, event, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import QueuePool

from banditd.core.errors import (
    ConfigurationError,
    InvariantError,
)
from banditd.storage import driver_errors, postgres, private_files
from banditd.storage.file_identity import FileIdentity
from banditd.storage.watch import Deadlines, Watch

logger = logging.getLogger(__name__)

_BEGIN_MODE: Final = postgres.MODE
_MIGRATION_LOCK: Final = 7_305_234_901
_ACCOUNTS_LOCK: Final = 7_305_234_901 + 1
"""Key of the advisory lock under which one replica migrates; any number that nobody else uses."""
_PSYCOPG: Final = "postgresql+psycopg"


# SQLite's driver asks what is no number and no text how it wants to be stored, and every time fails to find an answer
# at several places. All of this is stored as it is, and most values of a decision's row are of these kinds.
_nulls: dict[None, None] = {}
sqlite3.register_adapter(type(None), _nulls.get)
sqlite3.register_adapter(bytes, bytes)
sqlite3.register_adapter(bool, bool)


def normalise_url(url: str) -> URL:
    """The URL with the driver that we use; ``sqlite:///path`` and ``postgresql://`` may leave it out."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # what comes of it may hold the password
        raise ConfigurationError(
            "database.url cannot be read: write sqlite:///path/to/file.db or postgresql://user@host:5432/name, and "
            "in a password %40 for @, %3A for : and %2F for /"
        ) from None
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        if parsed.database in {None, "", ":memory:"}:
            raise ConfigurationError("database.url must name a file: an in-memory SQLite forgets everything")
        return parsed.set(drivername="sqlite")
    if backend in {"postgresql", "postgres"}:
        return parsed.set(drivername=_PSYCOPG)
    raise ConfigurationError(f"database.url names {backend!r}: only sqlite and postgresql are supported")


def is_sqlite(url: URL) -> bool:
    return url.get_backend_name() == "sqlite"


# ---------------------------------------------------------------- engines


def make_engine(
    url: URL,
    *,
    pool_size: int,
    busy_timeout_s: float,
    enforce_foreign_keys: bool = True,
    deadlines: Deadlines | None = None,
    watch: Watch | None = None,
    file: FileIdentity | None = None,
) -> Engine:
    """An engine whose connections are set up and checked.

    ``enforce_foreign_keys`` is off for migrations on SQLite only: with it on, a rebuilt parent table would
    take its children along. ``deadlines`` is None for migrations, which take as long as they take; ``watch`` ends
    connections whose work has passed its limit (PostgreSQL); ``file`` refuses to open another one (SQLite).
    """
    kept: Any = {"pool_size": pool_size, "max_overflow": 0, "hide_parameters": True}
    if is_sqlite(url):
        _make_folder(Path(str(url.database)).parent)
        engine = create_engine(
            url,
            poolclass=QueuePool,
            connect_args={"timeout": busy_timeout_s, "check_same_thread": False},
            **kept,
        )
        _prepare_sqlite(engine, Path(str(url.database)), busy_timeout_s, enforce_foreign_keys, file)
        return engine
    engine = create_engine(
        url,
        pool_timeout=busy_timeout_s,
        connect_args=postgres.connect_arguments(deadlines or Deadlines(lock_s=busy_timeout_s)),
        **kept,
    )
    postgres.prepare(engine, deadlines, watch)
    return engine


def _make_folder(folder: Path) -> None:
    try:
        private_files.make_folder(folder)
    except OSError as error:
        raise ConfigurationError(
            f"database.url names a file in {folder}, which cannot be made: {error.strerror}"
        ) from error


def file_identity(url: URL) -> FileIdentity | None:
    """The file of a SQLite database; None on PostgreSQL."""
    return FileIdentity(Path(str(url.database))) if is_sqlite(url) else None


def _prepare_sqlite(
    engine: Engine, place: Path, busy_timeout_s: float, enforce_foreign_keys: bool, file: FileIdentity | None
) -> None:
    wanted = {
        "busy_timeout": int(busy_timeout_s * 1000),
        "synchronous": 2,  # FULL: an acknowledged row survives a power cut, not only a crash
        "foreign_keys": int(enforce_foreign_keys),
        "wal_autocheckpoint": 0,  # storage/checkpoints.py does it, off the writer's path
    }

    @event.listens_for(engine, "do_connect")
    def _open(*_arguments: Any) -> None:
        if file is not None:
            file.check()  # an empty file would be made where ours is gone
        private_files.make_file(place)

    @event.listens_for(engine, "connect")
    def _connect(connection: sqlite3.Connection, _record: object) -> None:
        # The driver's own transactions begin too late and deferred, which loses updates: we write BEGIN.
        connection.isolation_level = None
        for name, value in wanted.items():
            connection.execute(f"PRAGMA {name} = {value}")
        mode = _switch_to_wal(connection, busy_timeout_s)
        found = {name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in wanted}
        if mode != "wal" or found != wanted:
            raise ConfigurationError(
                f"SQLite refused its settings (journal_mode {mode}, {found}): "
                "the file system must allow shared memory and locks"
            )

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        mode = connection.get_execution_options().get(_BEGIN_MODE, "DEFERRED")
        cursor = connection.connection.cursor()
        cursor.execute(f"BEGIN {mode}")
        cursor.close()


def _switch_to_wal(connection: sqlite3.Connection, patience_s: float) -> str:
    """The journal mode after asking for WAL. SQLite does not wait for other connections here: we do."""
    give_up_at = time.monotonic() + patience_s
    while True:
        try:
            return str(connection.execute("PRAGMA journal_mode = WAL").fetchone()[0])
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > give_up_at:
                raise
            time.sleep(random.uniform(0.001, 0.02))


def copy_log(engine: Engine, mode: str, *, patience_s: float = 0.0) -> tuple[int, int]:
    """Checkpoint SQLite's write-ahead log: ``PASSIVE`` waits for nobody, ``RESTART`` lets the log begin anew,
    ``TRUNCATE`` also gives its space back.

    The latter two hold the writer up while they wait for readers, at most ``patience_s``. Returns (pages, pages
    copied); (-1, -1) when another connection was at it. Raises StorageUnavailableError.
    """
    with driver_errors.translated(), closing(engine.raw_connection()) as connection:
        cursor = connection.cursor()
        [patience_ms] = cursor.execute("PRAGMA busy_timeout").fetchone()
        cursor.execute(f"PRAGMA busy_timeout = {int(patience_s * 1000)}")
        try:
            _busy, pages, copied = cursor.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
        finally:
            cursor.execute(f"PRAGMA busy_timeout = {patience_ms}")
    return int(pages), int(copied)


def lengthen_log(engine: Engine, more_bytes: int) -> None:
    """Put zeros behind SQLite's write-ahead log, whose end is where a checksum fails: commits overwrite them.

    Raises StorageUnavailableError, OSError.
    """
    with (
        driver_errors.translated(),
        closing(engine.raw_connection()) as connection,
        Path(f"{engine.url.database}-wal").open("r+b") as log,
    ):
        cursor = connection.cursor()
        cursor.execute("BEGIN IMMEDIATE")  # nobody else lengthens or cuts it meanwhile
        try:
            log.seek(0, os.SEEK_END)
            log.write(bytes(more_bytes))
            log.flush()
        finally:
            cursor.execute("ROLLBACK")
        os.fsync(log.fileno())


def writing(engine: Engine) -> Engine:
    """The engine for write transactions: SQLite takes its lock at BEGIN, so nothing is read before it."""
    return engine.execution_options(**{_BEGIN_MODE: "IMMEDIATE" if is_sqlite(engine.url) else postgres.WRITE})


def reading(engine: Engine) -> Engine:
    """The engine for reads: all statements of one transaction see one state of the database."""
    return engine if is_sqlite(engine.url) else engine.execution_options(**{_BEGIN_MODE: postgres.READ})


def keep_watching(connection: Connection, watch: Watch) -> None:
    """Put a connection that was kept under the limit of this thread (PostgreSQL; files do not fall silent)."""
    if not is_sqlite(connection.engine.url):
        postgres.adopt(connection, watch)


def transaction_name(connection: Connection) -> postgres.TransactionName | None:
    """What the database calls the write transaction that runs here; None on SQLite, whose commit always answers."""
    return None if is_sqlite(connection.engine.url) else postgres.transaction_name(connection)


def outcome(engine: Engine, transaction: postgres.TransactionName, until_s: float) -> bool | None:
    """Whether that transaction was committed; None where nobody can tell by ``until_s`` (``time.monotonic``)."""
    return postgres.outcome(reading(engine), transaction, until_s)


def lock_migrations(connection: Connection) -> None:
    """Wait until this transaction alone may migrate (on SQLite its BEGIN IMMEDIATE has seen to that)."""
    if not is_sqlite(connection.engine.url):
        connection.execute(text("SET LOCAL lock_timeout = 0"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})


def lock_accounts(connection: Connection) -> None:
    """Wait until this transaction alone may charge budgets. On SQLite its BEGIN IMMEDIATE has seen to that."""
    if not is_sqlite(connection.engine.url):
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ACCOUNTS_LOCK})


def lock_tables(connection: Connection, names: Sequence[str]) -> None:
    """Wait until nobody else reads or writes these tables. On SQLite BEGIN IMMEDIATE has seen to the writers."""
    if not is_sqlite(connection.engine.url):
        connection.execute(text(f"LOCK TABLE {', '.join(names)} IN ACCESS EXCLUSIVE MODE"))


def refuse_broken_references(connection: Connection) -> None:
    """Raise InvariantError when a migration that ran without foreign keys left rows without their parent."""
    if is_sqlite(connection.engine.url):
        broken = len(connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall())
        if broken:
            raise InvariantError(f"the migration left {broken} rows without their parent")


# ---------------------------------------------------------------- statements


def insert_into(engine: Engine, table: Table) -> Any:
    """An insert with ``on_conflict_do_update`` and ``on_conflict_do_nothing``."""
    return sqlite.insert(table) if is_sqlite(engine.url) else postgresql.insert(table)


def add_up(engine: Engine, table: Table, columns: Iterable[str]) -> Any:
    """Insert a row of sums, or add it to the row that is there."""
    return _upsert(is_sqlite(engine.url), table, tuple(columns), adds=True)


def replace_row(engine: Engine, table: Table, columns: Iterable[str]) -> Any:
    """Insert a row, or overwrite ``columns`` of the row with that primary key."""
    return _upsert(is_sqlite(engine.url), table, tuple(columns), adds=False)


@functools.cache
def _upsert(on_sqlite: bool, table: Table, columns: tuple[str, ...], *, adds: bool) -> Any:
    statement: Any = sqlite.insert(table) if on_sqlite else postgresql.insert(table)
    new = statement.excluded
    return statement.on_conflict_do_update(
        index_elements=list(table.primary_key.columns),
        set_={name: table.c[name] + new[name] if adds else new[name] for name in columns},
    )


@functools.cache
def by_position(kind: Any) -> Any:
    """One dialect of this class for statements whose values are tuples: it remembers how it writes each type."""
    return kind(paramstyle="qmark" if kind.name == "sqlite" else "numeric_dollar")


def positional_cursor(connection: Connection) -> Any:
    """A cursor of the driver for statements that ``by_position`` wrote."""
    if is_sqlite(connection.engine.url):
        return connection.connection.cursor()
    return postgres.positional_cursor(connection)


def lock_shared(engine: Engine, statement: Select[Any]) -> Select[Any] | None:
    """The select with the row lock of a foreign key, or None where the whole database is locked by the writer."""
    return None if is_sqlite(engine.url) else statement.with_for_update(read=True, key_share=True)


def lock_exclusive(engine: Engine, statement: Select[Any]) -> Select[Any]:
    return statement if is_sqlite(engine.url) else statement.with_for_update()
