"""Read models over the counters: what they cost depends on arms, clusters and time, never on decisions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection, Select, func, select

from banditd.ports import DecisionFilter
from banditd.ports.reading import Period, Sides
from banditd.storage.delays import BOUNDS_S
from banditd.storage.engine import Database
from banditd.storage.journal import SumJournal
from banditd.storage.log_reader import read_search_end
from banditd.storage.queues import depth
from banditd.storage.schema import (
    CLUSTER_INTEGER_SUMS,
    CLUSTER_SUMS,
    INTEGER_SUMS,
    SUMS,
    arm_total,
    cluster_stat,
    delay_count,
    rollup,
    row_count,
)
from banditd.storage.sides import OfArm, between
from banditd.storage.sum_queries import Rows, by_step, newest_schema, read_rows, summed

_COUNTED: Final = ("decision", "reward_event", "usage_report")
_LONGEST_S: Final = 86_400  # of a bucket


class SqlReportReader:
    """``ports.ReportReader`` over one database."""

    def __init__(self, database: Database, journal: SumJournal) -> None:
        self._database = database
        self._journal = journal

    async def arm_totals(
        self,
        policy: str,
        since_us: int | None,
        until_us: int | None = None,
        sums: Sequence[str] | None = None,
    ) -> Rows:
        if since_us is None and until_us is None:
            query = summed(arm_total, sums or SUMS, [arm_total.c.arm]).where(arm_total.c.policy == policy)
        else:
            query = summed(rollup, sums or SUMS, [rollup.c.arm])
            query = query.where(rollup.c.policy == policy, *between(rollup, since_us, until_us, longest_s=_LONGEST_S))
        return await self._rows(query, INTEGER_SUMS, policy)

    async def against(
        self,
        policy: str,
        arm: str | None,
        periods: Sequence[Period],
        of_all: Sequence[str],
        of_arm: Sequence[str],
    ) -> list[Sides]:
        def work(connection: Connection) -> list[Sides]:
            sides = OfArm(connection, policy, arm, of_all, of_arm)
            return [
                sides.whole(arm_total, [arm_total.c.policy == policy])
                if period == (None, None)
                else sides.whole(rollup, [rollup.c.policy == policy, *between(rollup, *period, longest_s=_LONGEST_S)])
                for period in periods
            ]

        return await self._journal.read(work)

    async def first_bucket_us(self, policy: str, since_us: int) -> int | None:
        c = rollup.c
        query = select(func.min(c.bucket_at_us)).where(c.policy == policy, c.bucket_at_us >= since_us)
        return await self._journal.read(lambda connection: connection.execute(query).scalar())

    async def contexts(self, policy: str) -> Rows:
        """Clusters of the feature schema that made the policy's decisions last (rows of others stay put)."""
        c = cluster_stat.c
        query = summed(cluster_stat, CLUSTER_SUMS, [c.schema_hash, c.cluster, c.arm])
        query = query.where(c.policy == policy)

        def work(connection: Connection) -> tuple[Rows, str | None]:
            return read_rows(connection, query, CLUSTER_INTEGER_SUMS, policy), newest_schema(connection, policy)

        rows, newest = await self._journal.read(work)
        return [
            {name: value for name, value in row.items() if name != "schema_hash"}
            for row in rows
            if row["schema_hash"] == newest
        ]

    async def timeseries(
        self, policy: str, *, since_us: int, until_us: int, step_s: int, sums: Sequence[str] | None = None
    ) -> Rows:
        start, among = by_step(rollup, since_us, until_us, step_s)
        query = summed(rollup, sums or SUMS, [start, rollup.c.arm]).where(rollup.c.policy == policy, among)
        return await self._rows(query, INTEGER_SUMS, policy)

    async def delays(self, policy: str) -> list[tuple[float, int]]:
        query = (
            select(delay_count.c.bin, delay_count.c.rewards)
            .where(delay_count.c.policy == policy)
            .order_by(delay_count.c.bin)
        )
        return await self._database.read(
            lambda connection: [(BOUNDS_S[row.bin], row.rewards) for row in connection.execute(query)], report=True
        )

    async def totals(self) -> Mapping[str, int]:
        counted = select(row_count.c.name, func.sum(row_count.c.rows)).group_by(row_count.c.name)

        def work(connection: Connection) -> dict[str, int]:
            rows = {name: int(total) for name, total in connection.execute(counted)}
            totals = {name: rows.get(name, 0) for name in _COUNTED}
            return totals | {"queue": depth(connection, None)}

        return await self._journal.read(work)

    async def search_end(self, filters: DecisionFilter, rows: int) -> str | None:
        return await self._database.read(lambda connection: read_search_end(connection, filters, rows), report=True)

    async def _rows(self, query: Select[Any], integers: Sequence[str], policy: str) -> Rows:
        return await self._journal.read(lambda connection: read_rows(connection, query, integers, policy))
