"""Queries of the counters that reports of a whole policy and reports by tag are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Connection, Select, Table, cast, func, select

from banditd.core.generations import shown_as
from banditd.core.types import MICROSECONDS_PER_SECOND
from banditd.storage.arms import present_generations
from banditd.storage.schema import decision

Rows = list[Mapping[str, float | str]]


def summed(table: Table, sums: Sequence[str], by: Sequence[ColumnElement[Any]]) -> Select[Any]:
    """Sums over writers (and buckets), grouped and ordered by ``by``."""
    columns = [func.sum(table.c[name]).label(name) for name in sums]
    return select(*by, *columns).group_by(*by).order_by(*by)


def between(table: Table, longest_s: int, since_us: int | None, until_us: int | None) -> list[ColumnElement[bool]]:
    """Every bucket that ends after ``since_us`` and begins before ``until_us`` counts whole.

    longest_s : of a bucket.
    """
    c = table.c
    conditions: list[ColumnElement[bool]] = []
    if since_us is not None:
        ends_us = c.bucket_at_us + cast(c.bucket_s, BigInteger) * MICROSECONDS_PER_SECOND
        conditions += [c.bucket_at_us > since_us - longest_s * MICROSECONDS_PER_SECOND, ends_us > since_us]
    if until_us is not None:
        conditions.append(c.bucket_at_us < until_us)
    return conditions


def by_step(
    table: Table, since_us: int, until_us: int, step_s: int
) -> tuple[ColumnElement[Any], ColumnElement[bool]]:
    """(the start of the step that a bucket is in, whether it is in the period). Coarser ones count at their start."""
    step_us, bucket = step_s * MICROSECONDS_PER_SECOND, table.c.bucket_at_us
    start: ColumnElement[Any] = (bucket - bucket % step_us).label("bucket_at_us")
    return start, (bucket >= since_us - since_us % step_us) & (bucket < until_us)


def read_rows(connection: Connection, query: Select[Any], integers: Sequence[str], policy: str) -> Rows:
    """Sums by arm and whatever else; arms as they are shown."""
    whole, present = frozenset(integers), present_generations(connection, policy)
    rows: Rows = []
    for found in connection.execute(query).mappings():
        # PostgreSQL sums bigints as decimals.
        row: dict[str, Any] = {name: int(value) if name in whole else value for name, value in found.items()}
        if "arm" in row:
            row["arm"] = shown_as(str(row["arm"]), present)
        rows.append(row)
    return rows


def newest_schema(connection: Connection, policy: str) -> str | None:
    """The hash of the feature schema that made the policy's newest decision."""
    query = select(decision.c.schema_hash).where(decision.c.policy == policy)
    return connection.execute(query.order_by(decision.c.decision_id.desc()).limit(1)).scalar()
