"""Rows of counters become fewer: their sums move to rows of coarser keys, and none is lost or doubled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Table, delete, func, select

from banditd.core.types import MICROSECONDS_PER_SECOND
from banditd.storage import dialect
from banditd.storage.engine import Database


async def merge_buckets(
    database: Database,
    table: Table,
    sums: Sequence[str],
    steps: Sequence[tuple[int, int, int]],
    now_us: int,
    to: Mapping[str, Any],
) -> int:
    """Merge the buckets of every step that are old enough, one larger bucket a transaction; returns how many rows.

    steps : (size, larger size, age from which), all in seconds. to : columns of the key that merged rows get.
    """
    changed = 0
    for from_s, to_s, age_s in steps:
        edge_us = now_us - age_s * MICROSECONDS_PER_SECOND
        edge_us -= edge_us % (to_s * MICROSECONDS_PER_SECOND)

        def work(connection: Connection, from_s: int = from_s, to_s: int = to_s, edge_us: int = edge_us) -> int:
            return _merge_oldest(connection, database.engine, table, sums, (from_s, to_s, edge_us), to)

        while step := await database.write(work):
            changed += step
    return changed


def _merge_oldest(
    connection: Connection,
    engine: Engine,
    table: Table,
    sums: Sequence[str],
    step: tuple[int, int, int],
    to: Mapping[str, Any],
) -> int:
    """Merge the oldest bucket of the larger size that still has rows of the smaller. step : sizes, end of the old."""
    c, (from_s, to_s, edge_us) = table.c, step
    old = select(func.min(c.bucket_at_us)).where(c.bucket_s == from_s, c.bucket_at_us < edge_us)
    first = connection.execute(old).scalar()
    if first is None:
        return 0
    to_us = to_s * MICROSECONDS_PER_SECOND
    start = first - first % to_us
    in_bucket = (c.bucket_s == from_s) & (c.bucket_at_us >= start) & (c.bucket_at_us < start + to_us)
    return move(connection, engine, table, sums, in_bucket, {"bucket_at_us": start, "bucket_s": to_s, **to})


def move(
    connection: Connection,
    engine: Engine,
    table: Table,
    sums: Sequence[str],
    in_bucket: ColumnElement[bool],
    to: Mapping[str, Any],
) -> int:
    """Add the rows ``mine`` to those of the key that differs by ``to``, and delete them; returns how many."""
    taken = connection.execute(delete(table).where(in_bucket).returning(table)).mappings().all()
    keys = [column.name for column in table.primary_key.columns]
    merged: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in taken:
        moved = {**row, **to}
        key = tuple(moved[name] for name in keys)
        before = merged.get(key)
        merged[key] = moved if before is None else before | {name: before[name] + moved[name] for name in sums}
    if merged:
        connection.execute(dialect.add_up(engine, table, sums), [merged[key] for key in sorted(merged)])
    return len(taken)
