"""Read models by tag: what they cost depends on arms, clusters, time and values with places, never on decisions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, Select, Table, func, select

from banditd.ports.reading import Period, Sides
from banditd.ports.tags import REST
from banditd.storage import dialect
from banditd.storage.engine import Database
from banditd.storage.journal import SumJournal
from banditd.storage.schema import (
    CLUSTER_INTEGER_SUMS,
    CLUSTER_SUMS,
    INTEGER_SUMS,
    SUMS,
    cluster_name,
    tag_cluster,
    tag_rollup,
    tag_total,
    tag_value,
)
from banditd.storage.sides import OfArm, between
from banditd.storage.sum_queries import Rows, by_step, newest_schema, read_rows, summed
from banditd.storage.tag_upkeep import LONGEST_BUCKET_S

T = TypeVar("T")


class SqlTagReader:
    """``ports.tags.TagReader`` over one database."""

    def __init__(self, database: Database, journal: SumJournal) -> None:
        self._database = database
        self._journal = journal

    async def values(self, policy: str) -> list[tuple[str, str, int]]:
        c = tag_value.c
        query = select(c.tag, c.value, c.decisions).where(c.policy == policy, c.tag != REST)
        return await self._read(
            lambda connection: [(row.tag, row.value, int(row.decisions)) for row in connection.execute(query)]
        )

    async def totals(
        self,
        policy: str,
        tag: str,
        value: str | None,
        since_us: int | None,
        until_us: int | None,
        sums: Sequence[str] | None = None,
    ) -> Rows:
        table, where = _in_period(policy, tag, value, (since_us, until_us))
        query = summed(table, sums or SUMS, [table.c.value, table.c.arm]).where(*where)
        return await self._rows(query, INTEGER_SUMS, policy)

    async def against(
        self,
        policy: str,
        tag: str,
        value: str | None,
        arm: str | None,
        period: Period,
        of_all: Sequence[str],
        of_arm: Sequence[str],
    ) -> Mapping[str, Sides]:
        table, where = _in_period(policy, tag, value, period)
        return await self._read(
            lambda connection: OfArm(connection, policy, arm, of_all, of_arm).by_value(table, where)
        )

    async def timeseries(
        self,
        policy: str,
        tag: str,
        value: str | None,
        *,
        since_us: int,
        until_us: int,
        step_s: int,
        sums: Sequence[str] | None = None,
    ) -> Rows:
        start, among = by_step(tag_rollup, since_us, until_us, step_s)
        c = tag_rollup.c
        by = [start, c.value] if value is None else [start, c.value, c.arm]
        query = summed(tag_rollup, sums or SUMS, by).where(*_of(tag_rollup, policy, tag, value), among)
        return await self._rows(query, INTEGER_SUMS, policy)

    async def contexts(self, policy: str, schema_hash: str, tag: str, value: str) -> Rows:
        c = tag_cluster.c
        query = summed(tag_cluster, CLUSTER_SUMS, [c.cluster, c.arm]).where(
            c.schema_hash == schema_hash, *_of(tag_cluster, policy, tag, value)
        )
        return await self._rows(query, CLUSTER_INTEGER_SUMS, policy)

    async def frequent_values(
        self, policy: str, schema_hash: str, least_decisions: int, least_share: float
    ) -> list[tuple[int, str, str, int]]:
        query = _frequent(policy, schema_hash, least_decisions, least_share)
        return await self._read(
            lambda connection: [(row[0], row[1], row[2], int(row[3])) for row in connection.execute(query)]
        )

    async def newest_schema(self, policy: str) -> str | None:
        return await self._database.read(lambda connection: newest_schema(connection, policy), report=True)

    # ------------------------------------------------------------ names of clusters

    async def names(self, policy: str, maps: str) -> Mapping[int, str]:
        c = cluster_name.c
        query = select(c.cluster, c.name).where(c.policy == policy, c.maps == maps)
        return await self._database.read(
            lambda connection: {row.cluster: row.name for row in connection.execute(query)}, report=True
        )

    async def rename(self, policy: str, maps: str, cluster: int, name: str | None, at_us: int) -> None:
        key = {"policy": policy, "maps": maps, "cluster": cluster}

        def work(connection: Connection) -> None:
            if name is None:
                mine = [cluster_name.c[column] == value for column, value in key.items()]
                connection.execute(cluster_name.delete().where(*mine))
                return
            statement = dialect.replace_row(self._database.engine, cluster_name, ("name", "updated_at_us"))
            connection.execute(statement, key | {"name": name, "updated_at_us": at_us})

        await self._database.write(work)

    # ------------------------------------------------------------ inside

    async def _rows(self, query: Select[Any], integers: Sequence[str], policy: str) -> Rows:
        return await self._read(lambda connection: read_rows(connection, query, integers, policy))

    async def _read(self, work: Callable[[Connection], T]) -> T:
        return await self._journal.read_tags(work)


def _frequent(policy: str, schema_hash: str, least_decisions: int, least_share: float) -> Select[Any]:
    """Thousands of rows in, some dozens out: the database adds up, so that nobody else has to."""
    c = tag_cluster.c
    cell = (
        select(c.cluster, c.tag, c.value, func.sum(c.decisions).label("decisions"))
        .where(c.policy == policy, c.schema_hash == schema_hash)
        .group_by(c.cluster, c.tag, c.value)
        .cte("cell")
    )
    here = (
        select(cell.c.cluster, cell.c.tag, func.sum(cell.c.decisions).label("decisions"))
        .group_by(cell.c.cluster, cell.c.tag)
        .cte("here")
    )
    frequent = (
        select(cell.c.tag, cell.c.value)
        .join_from(cell, here, (cell.c.cluster == here.c.cluster) & (cell.c.tag == here.c.tag))
        .where(
            cell.c.value != REST,
            cell.c.decisions >= least_decisions,
            cell.c.decisions >= least_share * here.c.decisions,
        )
        .distinct()
        .cte("frequent")
    )
    named = func.coalesce(frequent.c.value, REST)
    return (
        select(cell.c.cluster, cell.c.tag, named, func.sum(cell.c.decisions))
        .select_from(cell.outerjoin(frequent, (cell.c.tag == frequent.c.tag) & (cell.c.value == frequent.c.value)))
        .group_by(cell.c.cluster, cell.c.tag, named)
    )


def _of(table: Table, policy: str, tag: str, value: str | None) -> tuple[ColumnElement[bool], ...]:
    mine = table.c.policy == policy, table.c.tag == tag
    return mine if value is None else (*mine, table.c.value == value)


def _in_period(policy: str, tag: str, value: str | None, period: Period) -> tuple[Table, list[ColumnElement[bool]]]:
    """The counters of a period, or those of all time, and which of their rows."""
    if period == (None, None):
        return tag_total, [*_of(tag_total, policy, tag, value)]
    return tag_rollup, [
        *_of(tag_rollup, policy, tag, value),
        *between(tag_rollup, *period, longest_s=LONGEST_BUCKET_S),
    ]
