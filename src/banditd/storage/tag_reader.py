"""Read models by tag: what they cost depends on arms, clusters, time and values with places, never on decisions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Select, bindparam, func, select

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
from banditd.storage.sides import OfArm
from banditd.storage.sum_queries import STEP, Rows, Selection, in_steps, newest_schema, read_rows, selection
from banditd.storage.tag_upkeep import LONGEST_BUCKET_S

T = TypeVar("T")
_VALUES: Final = select(tag_value.c.tag, tag_value.c.value, tag_value.c.decisions).where(
    tag_value.c.policy == bindparam("policy"), tag_value.c.tag != REST
)


class SqlTagReader:
    """``ports.tags.TagReader`` over one database."""

    def __init__(self, database: Database, journal: SumJournal) -> None:
        self._database = database
        self._journal = journal

    async def values(self, policy: str) -> list[tuple[str, str, int]]:
        values = {"policy": policy}
        return await self._read(lambda connection: [(*row,) for row in connection.execute(_VALUES, values)])

    async def totals(
        self,
        policy: str,
        tag: str,
        value: str | None,
        since_us: int | None,
        until_us: int | None,
        sums: Sequence[str] | None = None,
    ) -> Rows:
        rows = _in_period(policy, tag, value, (since_us, until_us))
        return await self._rows(rows, sums or SUMS, ("value", "arm"), INTEGER_SUMS)

    async def against(
        self,
        policy: str,
        tag: str,
        values: Sequence[str] | None,
        arm: str | None,
        period: Period,
        of_all: Sequence[str],
        of_arm: Sequence[str],
        most: int | None = None,
    ) -> Mapping[str, Sides]:
        rows = _in_period(policy, tag, None, period)
        if values is not None:
            rows = rows.among(values)
        return await self._read(
            lambda connection: OfArm(connection, policy, arm, of_all, of_arm).by_value(rows, most)
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
        rows = in_steps(tag_rollup, _of(policy, tag, value), since_us=since_us, until_us=until_us, step_s=step_s)
        by = (STEP, "value") if value is None else (STEP, "value", "arm")
        return await self._rows(rows, sums or SUMS, by, INTEGER_SUMS)

    async def contexts(self, policy: str, schema_hash: str, tag: str, value: str) -> Rows:
        rows = selection(tag_cluster, _of(policy, tag, value) | {"schema_hash": schema_hash})
        return await self._rows(rows, CLUSTER_SUMS, ("cluster", "arm"), CLUSTER_INTEGER_SUMS)

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
                matching = [cluster_name.c[column] == value for column, value in key.items()]
                connection.execute(cluster_name.delete().where(*matching))
                return
            statement = dialect.replace_row(self._database.engine, cluster_name, ("name", "updated_at_us"))
            connection.execute(statement, key | {"name": name, "updated_at_us": at_us})

        await self._database.write(work)

    # ------------------------------------------------------------ inside

    async def _rows(self, rows: Selection, sums: Sequence[str], by: tuple[str, ...], integers: Sequence[str]) -> Rows:
        return await self._read(lambda connection: read_rows(connection, rows, sums, by, integers))

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


def _of(policy: str, tag: str, value: str | None) -> dict[str, str]:
    matching = {"policy": policy, "tag": tag}
    return matching if value is None else matching | {"value": value}


def _in_period(policy: str, tag: str, value: str | None, period: Period) -> Selection:
    """The counters of a period, or those of all time."""
    matching = _of(policy, tag, value)
    if period == (None, None):
        return selection(tag_total, matching)
    return selection(tag_rollup, matching, period, longest_s=LONGEST_BUCKET_S)
