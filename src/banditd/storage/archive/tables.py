"""Copying the rows of every table from one database to another, in one transaction of each.

Which tables there are is the metadata's word alone: a table that is added is copied without a change here. Memory is
bounded by bytes, not by rows, since a row may hold a text of a megabyte.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from typing import Any, Final

from sqlalchemy import Connection, MetaData, Select, Table, Text, exists, func, insert, select, text
from sqlalchemy.exc import StatementError

from banditd.core.errors import InvalidInputError, InvariantError
from banditd.storage import driver_errors
from banditd.storage.archive.files import Progress
from banditd.storage.codec import clean_text
from banditd.storage.partitions.layout import CHILDREN, is_partitioned, make_room
from banditd.storage.schema import decision, lease, metadata

_FETCHED_ROWS: Final = 64
_BATCH_ROWS: Final = 1_000
_BATCH_BYTES: Final = 4_000_000
_LEFT_OUT: Final = frozenset({lease.name})
"""Leases are claims of processes that live on the source."""


def copied_tables(tables: MetaData = metadata) -> list[Table]:
    """The tables that move, parents first."""
    return [table for table in tables.sorted_tables if table.name not in _LEFT_OUT]


def filled_tables(connection: Connection) -> frozenset[str]:
    """The names of the tables that have a row."""
    return frozenset(
        table.name
        for table in copied_tables()
        if connection.execute(select(text("1")).select_from(table).limit(1)).first() is not None
    )


def empty_tables(connection: Connection) -> None:
    """Delete every row, children first."""
    for table in reversed(metadata.sorted_tables):
        connection.execute(table.delete())


def copy_rows(
    source: Connection, target: Connection, progress: Progress, *, tables: MetaData = metadata
) -> dict[str, int]:
    """Copy every row; returns how many of each table.

    Both are inside a transaction, the source's of one state. The target's tables are empty and of the same schema.

    Raises InvariantError when the target does not hold afterwards as many rows as were copied.
    """
    copied: dict[str, int] = {}
    if decision.name in tables.tables:
        make_room(source, target, time.time_ns() // 1000)
    for table in copied_tables(tables):
        whole = _with_decision(table) if table in CHILDREN and is_partitioned(source) else select(table)
        total = source.execute(select(func.count()).select_from(whole.subquery())).scalar_one()
        done = 0
        progress(table.name, 0, total)
        with closing(_batches(source, whole)) as batches:
            for batch in batches:
                try:
                    target.execute(insert(table), batch)
                except StatementError as error:
                    if not isinstance(driver_errors.translate(error), InvalidInputError):
                        raise
                    keys = [column.name for column in table.primary_key]
                    ends = [", ".join(str(row[name]) for name in keys) for row in (batch[0], batch[-1])]
                    raise InvalidInputError(
                        f"a row of {table.name} holds what its column cannot ({' and '.join(keys)} from {ends[0]} to "
                        f"{ends[1]}), so nothing was copied: 'banditd rebuild' names rows that are damaged"
                    ) from error
                done += len(batch)
                progress(table.name, done, total)
        _continue_sequence(target, table)
        found = target.execute(select(func.count()).select_from(table)).scalar_one()
        if found != done:
            raise InvariantError(f"{done} rows of table {table.name} were copied, {found} have arrived")
        copied[table.name] = done
    return copied


def _with_decision(table: Table) -> Select[Any]:
    """Its rows without those whose decision has gone with a partition: they are about to be deleted."""
    return select(table).where(exists().where(decision.c.decision_id == table.c.decision_id))


def _batches(source: Connection, rows: Select[Any]) -> Generator[list[dict[str, Any]], None, None]:
    texts = [column.name for column in rows.selected_columns if isinstance(column.type, Text)]
    # A stream of its own, without a copy of the whole result in this process.
    stream = rows.execution_options(stream_results=True, max_row_buffer=_FETCHED_ROWS)
    batch: list[dict[str, Any]] = []
    size = 0
    with source.execute(stream) as result:
        for part in result.mappings().partitions(_FETCHED_ROWS):
            for row in part:
                made = _storable(row, texts)
                batch.append(made)
                size += _bytes_of(made.values())
            if len(batch) >= _BATCH_ROWS or size >= _BATCH_BYTES:
                yield batch
                batch, size = [], 0
    if batch:
        yield batch


def _storable(row: Mapping[Any, Any], texts: Sequence[str]) -> dict[str, Any]:
    """SQLite keeps texts that PostgreSQL refuses (NUL): they are replaced as new ones would be."""
    made = dict(row)
    for name in texts:
        made[name] = clean_text(made[name])
    return made


def _bytes_of(values: Any) -> int:
    return sum(len(value) if isinstance(value, str | bytes) else 8 for value in values)


def _continue_sequence(target: Connection, table: Table) -> None:
    """Where PostgreSQL counts a key up by itself, it goes on behind the copied rows."""
    column = table.autoincrement_column
    if column is None or target.dialect.name != "postgresql":
        return
    sequence = target.execute(
        text("SELECT pg_get_serial_sequence(:table, :column)"), {"table": f'"{table.name}"', "column": column.name}
    ).scalar()
    if sequence is not None:
        last = target.execute(select(func.max(column))).scalar()
        if last is not None:
            target.execute(text("SELECT setval(:sequence, :last)"), {"sequence": sequence, "last": last})
