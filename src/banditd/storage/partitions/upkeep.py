"""Making partitions ahead of time, and dropping those that retention no longer keeps. One replica does it.

Every step is a short transaction. A step that needs the whole log's lock waits for it a fraction of a second, since
everybody who comes meanwhile waits behind it, and is left to the next run where somebody reads for longer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final, TypeVar

from sqlalchemy import ColumnElement, Connection, delete, exists, func, literal_column, select, text

from banditd.core.errors import StorageUnavailableError
from banditd.ports import PRUNED_CURSOR
from banditd.storage import dialect
from banditd.storage.engine import Database
from banditd.storage.partitions.layout import (
    CHILDREN,
    Partition,
    add_partition,
    is_partitioned,
    missing_spans,
    partitions,
    time_of_id_us,
)
from banditd.storage.queues import QUEUES
from banditd.storage.schema import decision, job_run
from banditd.storage.sums import RowCounter

T = TypeVar("T")
logger = logging.getLogger(__name__)
LOCK_WAIT: Final = "300ms"
_TRIES: Final = 5
_PAUSE_S: Final = 1.0
_CHUNK: Final = 1_000
_SLACK_US: Final = 60_000_000  # an id lies within seconds of its decision's time (core.ids)
_COUNTED: Final = frozenset({"reward_event", "usage_report"})


class SqlPartitions:
    """``ports.LogPartitions`` over one database."""

    def __init__(self, database: Database, *, writer_name: str) -> None:
        self._database = database
        self._rows = RowCounter(database.engine, writer_name)

    async def make_ahead(self, now_us: int) -> int:
        missing = await self._database.read(lambda connection: missing_spans(connection, now_us))
        for span in missing:
            await self._transact(lambda connection, span=span: _add(connection, span, now_us))  # type: ignore[misc]
        return len(missing)

    async def drop(self, *, before_us: int) -> int:
        floor = await self._database.read(_oldest)
        if floor is None:
            return before_us
        for part in await self._database.read(partitions):
            if time_of_id_us(part.to_id) + _SLACK_US > before_us or not await self._drop(part):
                break
        floor = await self._database.read(_oldest) or floor
        await self._sweep(floor.from_id)
        return min(before_us, time_of_id_us(floor.from_id))

    async def _drop(self, part: Partition) -> bool:
        """Whether it is gone; not while the learner has something to do in it, nor while somebody reads the log."""
        held = await self._database.read(lambda connection: _count(connection, part), report=True)
        for _ in range(_TRIES):
            try:
                return await self._transact(lambda connection: self._drop_now(connection, part, held))
            except StorageUnavailableError as error:
                reason = error
                await asyncio.sleep(_PAUSE_S)
        logger.warning("retention.partition_in_use", extra={"partition": part.name, "error": reason.message})
        return False

    def _drop_now(self, connection: Connection, part: Partition, held: int) -> bool:
        _wait_briefly(connection)
        # The whole log first, as everybody else does: who held the partition alone would be waited for in a circle.
        connection.execute(text(f'LOCK TABLE ONLY "{decision.name}" IN ACCESS EXCLUSIVE MODE'))
        if part not in partitions(connection):
            return True
        if _is_queued(connection, part):
            return False
        connection.execute(text(f'DROP TABLE "{part.name}"'))
        self._rows.add(connection, decision.name, -held)
        if held:
            statement = dialect.replace_row(self._database.engine, job_run, ("cursor",))
            connection.execute(statement, {"job": PRUNED_CURSOR, "cursor": time_of_id_us(part.to_id)})
        return True

    async def _sweep(self, below_id: str) -> None:
        """Delete what hung on decisions that went with their partitions."""
        for table in CHILDREN:
            c = table.c
            # Older decisions in the default partition stay until they are pruned one by one.
            known = exists().where(decision.c.decision_id == c.decision_id, decision.c.decision_id < below_id)
            row: ColumnElement[str] = literal_column(f'"{table.name}".ctid')
            orphans = select(row).where(c.decision_id < below_id, ~known).limit(_CHUNK)
            statement = delete(table).where(row.in_(orphans))

            def work(connection: Connection, name: str = table.name, statement: object = statement) -> int:
                gone = connection.execute(statement).rowcount  # type: ignore[call-overload]
                if name in _COUNTED:
                    self._rows.add(connection, name, -gone)
                return int(gone)

            while await self._transact(work) == _CHUNK:
                pass

    async def _transact(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` on a connection of its own: writes that wait together would fail together with it."""
        return await asyncio.to_thread(self._run, work)

    def _run(self, work: Callable[[Connection], T]) -> T:
        try:
            with dialect.writing(self._database.engine).begin() as connection:
                return work(connection)
        except Exception as error:
            mine = dialect.translate(error)
            if mine is error:
                raise
            raise mine from error


def _wait_briefly(connection: Connection) -> None:
    connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_WAIT}'"))


def _add(connection: Connection, span: int, now_us: int) -> None:
    _wait_briefly(connection)
    if span in missing_spans(connection, now_us):  # else another replica was faster
        add_partition(connection, span)


def _oldest(connection: Connection) -> Partition | None:
    """None where the log has no partitions."""
    return next(iter(partitions(connection)), None) if is_partitioned(connection) else None


def _count(connection: Connection, part: Partition) -> int:
    c = decision.c.decision_id
    query = select(func.count()).select_from(decision).where(c >= part.from_id, c < part.to_id)
    return int(connection.execute(query).scalar_one())


def _is_queued(connection: Connection, part: Partition) -> bool:
    """Whether a learner has rewards of it to fold. What was set aside for another schema may wait for ever."""
    return any(
        connection.execute(
            select(
                exists().where(
                    queue.c.decision_id >= part.from_id,
                    queue.c.decision_id < part.to_id,
                    queue.c.schema_hash.is_(None),
                )
            )
        ).scalar()
        for queue in QUEUES
    )
