"""Moving an existing PostgreSQL log into partitions: ``banditd migrate --partition``.

The partitioned table is filled beside the log, in the order of ids and piece by piece, and takes its place in one
transaction at the end. Until then the log is what it was: whoever kills this loses nothing, and the next run goes on
where the last piece was committed.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, Engine, text

from banditd.core.errors import BanditdError, ConfigurationError, InvariantError
from banditd.storage import dialect
from banditd.storage.archive.files import Progress
from banditd.storage.archive.moves import refuse_learner
from banditd.storage.migrate import migrate
from banditd.storage.partitions.layout import (
    AHEAD,
    SPAN_US,
    add_missing,
    grants_on,
    is_partitioned,
    make_parent,
    occupied_spans,
    partitions,
    primary_key_of,
    release_children,
    spans_ahead,
    take_views,
)
from banditd.storage.schema import decision

CHUNK: Final = 20_000
_WAIT_S: Final = 30.0
_LOG: Final = decision.name
_NEW: Final = f"{_LOG}_moving"
_SUFFIX: Final = "_moving"
_INDEX: Final = re.compile(r"INDEX (?P<name>\S+) ON (?:ONLY )?(?P<schema>\S+\.)?\S+ USING ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Partitioned:
    """What was moved. decisions : of them all, moved now or by a run before. already : nothing was to be done."""

    already: bool
    decisions: int
    moved_now: int
    partitions: int
    seconds: float


def partition_log(url: str, *, progress: Progress) -> Partitioned:
    """Move the log of a PostgreSQL database into partitions. Blocks; every daemon should be stopped.

    Raises
    ------
    ConfigurationError : SQLite, which has no partitions. ConflictError : a daemon is running.
    """
    target = dialect.normalise_url(url)
    if dialect.is_sqlite(target):
        raise ConfigurationError("only a log on PostgreSQL has partitions; SQLite's stays one table")
    began_s = time.monotonic()
    migrate(url)
    engine = dialect.writing(dialect.make_engine(target, pool_size=1, busy_timeout_s=_WAIT_S))
    try:
        with engine.begin() as connection:
            already = is_partitioned(connection)
            if not already:
                refuse_learner(connection)
        moved = 0 if already else _move(engine, progress)
        with engine.begin() as connection:
            return Partitioned(
                already=already,
                decisions=_count(connection, _LOG),
                moved_now=moved,
                partitions=len(partitions(connection)),
                seconds=time.monotonic() - began_s,
            )
    except BanditdError:
        raise
    except Exception as error:
        mine = dialect.translate(error)
        if mine is error:
            raise
        raise mine from error
    finally:
        engine.dispose()


def _move(engine: Engine, progress: Progress) -> int:
    """Returns how many decisions were copied by this run."""
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
        indexes = _indexes(connection)
    for place, (name, statement) in enumerate(indexes):
        progress(f"indexing {name}", place, len(indexes))
        with engine.begin() as connection:
            connection.execute(text(statement))
    progress("taking its place", 0, 1)
    with engine.begin() as connection:
        moved += _take_place(connection, [name for name, _ in indexes])
    progress("taking its place", 1, 1)
    with engine.begin() as connection:
        connection.execute(text(f'ANALYZE "{_LOG}"'))
    return moved


def _prepare(connection: Connection) -> None:
    """Make the new table, unless a run before has made it with the columns that the log has now."""
    columns = _columns(connection, _LOG)
    found = _columns(connection, _NEW)
    if found and found != columns:  # a later release has migrated the log meanwhile
        connection.execute(text(f'DROP TABLE "{_NEW}"'))
        found = []
    if not found:
        make_parent(connection, _NEW, like=_LOG)
        connection.execute(text(primary_key_of(_NEW, f"pk_{_LOG}{_SUFFIX}")))
    now_us = time.time_ns() // 1000
    spans = {*occupied_spans(connection, now_us + AHEAD * SPAN_US), *spans_ahead(now_us)}
    add_missing(connection, sorted(spans), _NEW)


def _copy_step(connection: Connection) -> int:
    """Copy the next decisions in the order of ids; returns how many."""
    columns = ", ".join(_columns(connection, _LOG))
    last = connection.execute(text(f'SELECT max(decision_id) FROM "{_NEW}"')).scalar() or ""  # noqa: S608 - our own names
    return connection.execute(
        text(
            f'INSERT INTO "{_NEW}" ({columns}) SELECT {columns} FROM "{_LOG}" '  # noqa: S608
            "WHERE decision_id > :last ORDER BY decision_id LIMIT :limit"
        ),
        {"last": last, "limit": CHUNK},
    ).rowcount


def _take_place(connection: Connection, indexes: list[str]) -> int:
    """Give the new table the log's name; returns how many decisions had still been missing in it."""
    connection.execute(text(f'LOCK TABLE "{_LOG}", "{_NEW}" IN ACCESS EXCLUSIVE MODE'))
    refuse_learner(connection)
    late = _make_equal(connection)
    kept, here = _count(connection, _LOG), _count(connection, _NEW)
    if kept != here:
        raise InvariantError(f"{kept} decisions are in the log, {here} have arrived: nothing was changed")
    oid = connection.execute(text("SELECT to_regclass(:name)::oid").bindparams(name=_LOG)).scalar_one()
    statements = [*take_views(connection), *grants_on(connection, oid)]
    release_children(connection)
    connection.execute(text(f'DROP TABLE "{_LOG}"'))
    connection.execute(text(f'ALTER TABLE "{_NEW}" RENAME TO "{_LOG}"'))
    connection.execute(text(f'ALTER INDEX "pk_{_LOG}{_SUFFIX}" RENAME TO "pk_{_LOG}"'))
    for name in indexes:
        connection.execute(text(f'ALTER INDEX "{name}{_SUFFIX}" RENAME TO "{name}"'))
    for statement in statements:
        connection.execute(text(statement))
    return late


def _make_equal(connection: Connection) -> int:
    """What a daemon that ran between two runs has added behind our back, or deleted."""
    columns = ", ".join(_columns(connection, _LOG))

    def without(one: str, other: str) -> str:
        return f'NOT EXISTS (SELECT 1 FROM "{other}" AS other WHERE other.decision_id = "{one}".decision_id)'  # noqa: S608

    connection.execute(text(f'DELETE FROM "{_NEW}" WHERE {without(_NEW, _LOG)}'))  # noqa: S608
    missing = f'INSERT INTO "{_NEW}" ({columns}) SELECT {columns} FROM "{_LOG}" WHERE {without(_LOG, _NEW)}'  # noqa: S608
    return connection.execute(text(missing)).rowcount


def _columns(connection: Connection, table: str) -> list[str]:
    """Quoted and in order; none where there is no such table."""
    query = text(
        "SELECT quote_ident(attname) FROM pg_attribute WHERE attrelid = to_regclass(:name) "
        "AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
    )
    return list(connection.execute(query, {"name": table}).scalars())


def _indexes(connection: Connection) -> list[tuple[str, str]]:
    """Name, and the statement that makes the same one for the new table unless it is there, of all but the key's."""
    query = text(
        "SELECT pg_get_indexdef(indexrelid) FROM pg_index "
        "WHERE indrelid = to_regclass(:name) AND NOT indisprimary ORDER BY 1"
    )
    made = []
    for definition in connection.execute(query, {"name": _LOG}).scalars():
        found = _INDEX.search(definition)
        if found is None:
            raise InvariantError(f"an index that cannot be read: {definition}")
        name = found["name"].strip('"')
        new = f'INDEX IF NOT EXISTS "{name}{_SUFFIX}" ON {found["schema"] or ""}"{_NEW}" USING '
        made.append((name, definition[: found.start()] + new + definition[found.end() :]))
    return made


def _count(connection: Connection, table: str) -> int:
    return int(connection.execute(text(f'SELECT count(*) FROM "{table}"')).scalar_one())  # noqa: S608
