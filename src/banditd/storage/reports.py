"""Read models over the counters: what they cost depends on arms, clusters and time, never on decisions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from sqlalchemy import BindParameter, Connection, bindparam, func, select

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
from banditd.storage.sides import OfArm
from banditd.storage.sum_queries import STEP, Rows, Selection, in_steps, newest_schema, read_rows, selection

_COUNTED: Final = ("decision", "reward_event", "usage_report")
_LONGEST_S: Final = 86_400  # of a bucket
_POLICY: Final[BindParameter[str]] = bindparam("policy")
_FIRST: Final = select(func.min(rollup.c.bucket_at_us)).where(
    rollup.c.policy == _POLICY, rollup.c.bucket_at_us >= bindparam("since_us")
)
_DELAYS: Final = (
    select(delay_count.c.bin, delay_count.c.rewards)
    .where(delay_count.c.policy == _POLICY)
    .order_by(delay_count.c.bin)
)


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
        return await self._rows(_of_period(policy, (since_us, until_us)), sums or SUMS, ("arm",), INTEGER_SUMS)

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
            return [sides.whole(_of_period(policy, period)) for period in periods]

        return await self._journal.read(work)

    async def first_bucket_us(self, policy: str, since_us: int) -> int | None:
        values = {"policy": policy, "since_us": since_us}
        return await self._journal.read(lambda connection: connection.execute(_FIRST, values).scalar())

    async def contexts(self, policy: str) -> Rows:
        """Clusters of the feature schema that made the policy's decisions last (rows of others stay put)."""
        stored, by = selection(cluster_stat, {"policy": policy}), ("schema_hash", "cluster", "arm")

        def work(connection: Connection) -> tuple[Rows, str | None]:
            found = read_rows(connection, stored, CLUSTER_SUMS, by, CLUSTER_INTEGER_SUMS)
            return found, newest_schema(connection, policy)

        rows, newest = await self._journal.read(work)
        return [
            {name: value for name, value in row.items() if name != "schema_hash"}
            for row in rows
            if row["schema_hash"] == newest
        ]

    async def timeseries(
        self, policy: str, *, since_us: int, until_us: int, step_s: int, sums: Sequence[str] | None = None
    ) -> Rows:
        steps = in_steps(rollup, {"policy": policy}, since_us=since_us, until_us=until_us, step_s=step_s)
        return await self._rows(steps, sums or SUMS, (STEP, "arm"), INTEGER_SUMS)

    async def delays(self, policy: str) -> list[tuple[float, int]]:
        values = {"policy": policy}
        return await self._database.read(
            lambda connection: [(BOUNDS_S[row.bin], row.rewards) for row in connection.execute(_DELAYS, values)],
            report=True,
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

    async def _rows(self, rows: Selection, sums: Sequence[str], by: tuple[str, ...], integers: Sequence[str]) -> Rows:
        return await self._journal.read(lambda connection: read_rows(connection, rows, sums, by, integers))


def _of_period(policy: str, period: Period) -> Selection:
    """The counters of a period, or those of all time."""
    if period == (None, None):
        return selection(arm_total, {"policy": policy})
    return selection(rollup, {"policy": policy}, period, longest_s=_LONGEST_S)
