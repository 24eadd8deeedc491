"""Moving an existing PostgreSQL log into partitions: ``banditd migrate --partition``.

The partitioned table is filled beside the log, in the order of ids and piece by piece, and takes its place in one
transaction at the end. Until then the log is what it was: whoever kills this loses nothing, and the next run goes on
where the last piece was committed. That transaction is rehearsed before a row is copied, so what cannot go with the
log is refused at once.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from banditd.core.errors import ConfigurationError, ConflictError, InvariantError
from banditd.storage import dialect, driver_errors
from banditd.storage.archive.files import Progress
from banditd.storage.archive.moves import refuse_learner
from banditd.storage.migrate import migrate
from banditd.storage.partitions.belongings import columns_of, execute_literally, replace_log
from banditd.storage.partitions.layout import (
    AHEAD,
    SPAN_US,
    add_missing,
    default_partition,
    is_partitioned,
    make_parent,
    occupied_spans,
    partitions,
    primary_key_of,
    refuse_taken,
    spans_ahead,
)
from banditd.storage.schema import decision

CHUNK: Final = 20_000
_WAIT_S: Final = 30.0
LOCK_WAIT_MS: Final = 10_000
"""For whoever reads the log; everybody who comes meanwhile waits behind this."""
_LOCK_NOT_AVAILABLE: Final = "55P03"
_LOG: Final = decision.name
_NEW: Final = f"{_LOG}_moving"
_NEW_KEY: Final = f"pk_{_NEW}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Partitioned:
    """What was moved. decisions : of them all, moved now or by a run before. already : nothing was to be done.

    carried : what hung on the log and went with it. notes : what the operator has to know.
    """

    already: bool
    decisions: int
    moved_now: int
    partitions: int
    seconds: float
    carried: list[str]
    notes: list[str]


def partition_log(url: str, *, progress: Progress) -> Partitioned:
    """Move the log of a PostgreSQL database into partitions. Blocks; every daemon should be stopped.

    Raises
    ------
    ConfigurationError : SQLite, which has no partitions. ConflictError : a daemon or another move is running, or
    something hangs on the log that cannot go with it; nothing was changed then.
    """
    target = dialect.normalise_url(url)
    if dialect.is_sqlite(target):
        raise ConfigurationError("only a log on PostgreSQL has partitions; SQLite's stays one table")
    began_s = time.monotonic()
    migrate(url)
    engine = dialect.writing(dialect.make_engine(target, pool_size=2, busy_timeout_s=_WAIT_S))
    try:
        with driver_errors.translated(), _alone(engine):
            with engine.begin() as connection:
                already = is_partitioned(connection)
            moved, carried = (0, []) if already else _move(engine, progress)
            with engine.begin() as connection:
                return Partitioned(
                    already=already,
                    decisions=_count(connection, _LOG),
                    moved_now=moved,
                    partitions=len(partitions(connection)),
                    seconds=time.monotonic() - began_s,
                    carried=carried,
                    notes=_notes(connection),
                )
    finally:
        engine.dispose()


@contextmanager
def _alone(engine: Engine) -> Iterator[None]:
    """Holds a transaction open meanwhile, not a session: a proxy may stand between."""
    with engine.connect() as connection, connection.begin():
        connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        if not connection.execute(text("SELECT pg_try_advisory_xact_lock(hashtext('partition_log'))")).scalar_one():
            raise ConflictError("another 'banditd migrate --partition' is moving this log: wait until it has ended")
        yield


def _move(engine: Engine, progress: Progress) -> tuple[int, list[str]]:
    """Returns how many decisions were copied by this run, and what went with the log."""
    progress("looking at what hangs on the log", 0, 1)
    with _naming_who_holds_the_log(engine), engine.connect() as connection, connection.begin() as transaction:
        _rehearse(connection)
        transaction.rollback()
    with engine.begin() as connection:
        _prepare(connection)
        total, done = _count(connection, _LOG), _count(connection, _NEW)
    moved = 0
    while True:
        progress("moving decisions", done + moved, total)
        with engine.begin() as connection:
            step = _copy_step(connection)
        moved += step
        if step < CHUNK:
            break
    with engine.begin() as connection:
        indexes = _indexes(connection, _LOG)
        for stale in {one.name for one in _indexes(connection, _NEW)} - {one.new for one in indexes}:
            execute_literally(connection, f"DROP INDEX {stale}")
    for place, index in enumerate(indexes):
        progress(f"indexing {index.name}", place, len(indexes))
        with engine.begin() as connection:
            execute_literally(connection, index.make_new)
    progress("taking its place", 0, 1)
    with _naming_who_holds_the_log(engine), engine.begin() as connection:
        late, carried = _take_place(connection, indexes)
    progress("taking its place", 1, 1)
    with engine.begin() as connection:
        connection.execute(text(f'ANALYZE "{_LOG}"'))
    return moved + late, carried


@contextmanager
def _naming_who_holds_the_log(engine: Engine) -> Iterator[None]:
    """Raises ConflictError where others hold the log for too long."""
    try:
        yield
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) != _LOCK_NOT_AVAILABLE:
            raise
        query = text(
            "SELECT DISTINCT concat('process ', pid, nullif(concat(' of ', usename), ' of '), "
            "nullif(concat(' (', application_name, ')'), ' ()'), ', ', state) "
            "FROM pg_locks JOIN pg_stat_activity USING (pid) "
            "WHERE relation = to_regclass(:log) AND granted AND pid <> pg_backend_pid() ORDER BY 1"
        )
        with engine.begin() as connection:
            who = "; ".join(connection.execute(query, {"log": _LOG}).scalars()) or "they have ended since"
        raise ConflictError(
            f"others held the log for more than {LOCK_WAIT_MS / 1000:g} s: {who}. "
            "Let them end and run this again: it goes on where it was"
        ) from error


def _lock(connection: Connection, *tables: str) -> None:
    names = ", ".join(f'"{table}"' for table in tables)
    connection.execute(text(f"SET LOCAL lock_timeout = {LOCK_WAIT_MS}"))
    connection.execute(text(f"LOCK TABLE {names} IN ACCESS EXCLUSIVE MODE"))


def _rehearse(connection: Connection) -> None:
    """Take the log's place with a table without rows."""
    refuse_learner(connection)
    if default_partition(connection, _NEW) is None:  # else a run before has made it
        refuse_taken(connection, _NEW)
    _lock(connection, _LOG)

    def swap() -> None:
        try:
            _as_owner(connection)
            connection.execute(text(f'DROP TABLE IF EXISTS "{_NEW}"'))
            _make_new(connection)
            connection.execute(text("RESET ROLE"))
            _rename(connection, [])
        except DBAPIError as error:
            if driver_errors.translate(error) is not error:
                raise
            raise ConflictError(f"the log cannot be moved, so nothing was changed: {error.orig}") from error

    replace_log(connection, swap, [index.definition for index in _indexes(connection, _LOG)])


def _prepare(connection: Connection) -> None:
    """Make the new table, unless a run before has made it with the columns that the log has now."""
    _as_owner(connection)
    found = columns_of(connection, _NEW)
    if found and found != columns_of(connection, _LOG):  # somebody has changed the log meanwhile
        connection.execute(text(f'DROP TABLE "{_NEW}"'))
        found = {}
    if not found:
        _make_new(connection)
    now_us = time.time_ns() // 1000
    spans = {*occupied_spans(connection, now_us + AHEAD * SPAN_US), *spans_ahead(now_us)}
    add_missing(connection, sorted(spans), _NEW)


def _make_new(connection: Connection) -> None:
    make_parent(connection, _NEW, like=_LOG)
    connection.execute(text(primary_key_of(_NEW, _NEW_KEY)))


def _as_owner(connection: Connection) -> None:
    """What is made in this transaction from now on belongs to the owner of the log."""
    query = text("SELECT quote_ident(pg_get_userbyid(relowner)) FROM pg_class WHERE oid = to_regclass(:name)")
    owner = connection.execute(query, {"name": _LOG}).scalar_one()
    execute_literally(connection, f"SET LOCAL ROLE {owner}")


def _copy_step(connection: Connection) -> int:
    """Copy the next decisions in the order of ids; returns how many."""
    columns = _columns(connection, _LOG)
    last = connection.execute(text(f'SELECT max(decision_id) FROM "{_NEW}"')).scalar() or ""  # noqa: S608 - our own names
    return connection.execute(
        text(
            f'INSERT INTO "{_NEW}" ({columns}) SELECT {columns} FROM "{_LOG}" '  # noqa: S608
            "WHERE decision_id > :last ORDER BY decision_id LIMIT :limit"
        ),
        {"last": last, "limit": CHUNK},
    ).rowcount


def _take_place(connection: Connection, indexes: list[_Index]) -> tuple[int, list[str]]:
    """Give the new table the log's name; returns how many decisions it still lacked, and what went over to it."""
    _lock(connection, _LOG, _NEW)
    refuse_learner(connection)
    late = _make_equal(connection)
    kept, here = _count(connection, _LOG), _count(connection, _NEW)
    if kept != here:
        raise InvariantError(f"{kept} decisions are in the log, {here} have arrived: nothing was changed")
    return late, replace_log(connection, lambda: _rename(connection, indexes))


def _rename(connection: Connection, indexes: list[_Index]) -> None:
    """CASCADE: ``replace_log`` sees to it that nothing is lost."""
    connection.execute(text(f'DROP TABLE "{_LOG}" CASCADE'))
    connection.execute(text(f'ALTER TABLE "{_NEW}" RENAME TO "{_LOG}"'))
    connection.execute(text(f'ALTER INDEX "{_NEW_KEY}" RENAME TO "pk_{_LOG}"'))
    for index in indexes:
        execute_literally(connection, f'ALTER INDEX "{index.new}" RENAME TO {index.name}')


def _make_equal(connection: Connection) -> int:
    """What a daemon that ran between two runs has added behind our back, or deleted."""
    columns = _columns(connection, _LOG)

    def without(one: str, other: str) -> str:
        return f'NOT EXISTS (SELECT 1 FROM "{other}" AS other WHERE other.decision_id = "{one}".decision_id)'  # noqa: S608

    connection.execute(text(f'DELETE FROM "{_NEW}" WHERE {without(_NEW, _LOG)}'))  # noqa: S608
    missing = f'INSERT INTO "{_NEW}" ({columns}) SELECT {columns} FROM "{_LOG}" WHERE {without(_LOG, _NEW)}'  # noqa: S608
    return connection.execute(text(missing)).rowcount


def _columns(connection: Connection, table: str) -> str:
    """To be read and written, for a statement of ``text``."""
    return ", ".join(columns_of(connection, table)).replace(":", "\\:")


@dataclass(frozen=True, slots=True)
class _Index:
    """One of a table's, but the key's. name : quoted. definition : the statement that makes it.

    new : what it is called on the new table until that takes its place. make_new : makes it there unless it is there.
    """

    name: str
    definition: str
    new: str
    make_new: str


def _indexes(connection: Connection, table: str) -> list[_Index]:
    query = text(
        "SELECT quote_ident(i.relname), definition, new, replace(definition, "
        "format(' INDEX %I ON %I.%I ', i.relname, nspname, t.relname), "
        "format(' INDEX IF NOT EXISTS %I ON %I.%I ', new, nspname, CAST(:new AS text))) "
        "FROM pg_index JOIN pg_class AS i ON i.oid = indexrelid JOIN pg_class AS t ON t.oid = indrelid "
        "JOIN pg_namespace AS n ON n.oid = t.relnamespace, LATERAL pg_get_indexdef(indexrelid) AS definition, "
        "LATERAL concat(CAST(:new AS text), '_', md5(definition)) AS new "
        "WHERE t.oid = to_regclass(:table) AND NOT indisprimary ORDER BY i.relname"
    )
    return [_Index(*row) for row in connection.execute(query, {"new": _NEW, "table": table})]


def _notes(connection: Connection) -> list[str]:
    """What a publication of all tables, or of the schema's, makes of partitions."""
    query = text(
        "SELECT quote_ident(pubname) FROM pg_publication AS p WHERE NOT pubviaroot AND (puballtables OR EXISTS ("
        "SELECT FROM pg_publication_namespace JOIN pg_class AS c ON c.relnamespace = pnnspid "
        "WHERE pnpubid = p.oid AND c.oid = to_regclass(:log))) ORDER BY 1"
    )
    return [
        f"publication {name} sends the log under the names of its partitions from now on; under its own after "
        f"ALTER PUBLICATION {name} SET (publish_via_partition_root = true)"
        for name in connection.execute(query, {"log": _LOG}).scalars()
    ]


def _count(connection: Connection, table: str) -> int:
    return int(connection.execute(text(f'SELECT count(*) FROM "{table}"')).scalar_one())  # noqa: S608
