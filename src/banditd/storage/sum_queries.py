"""Queries of the counters that reports of a whole policy and reports by tag are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Table, select

from banditd.core.generations import shown_as
from banditd.core.types import MICROSECONDS_PER_SECOND
from banditd.storage.arms import present_generations
from banditd.storage.schema import decision
from banditd.storage.sides import sums_of

Rows = list[Mapping[str, float | str]]


def summed(table: Table, sums: Sequence[str], by: Sequence[ColumnElement[Any]]) -> Select[Any]:
    """Sums over writers (and buckets), grouped and ordered by ``by``."""
    return sums_of(table, tuple(sums)).add_columns(*by).group_by(*by).order_by(*by)


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
