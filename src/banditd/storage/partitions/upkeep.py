"""Making partitions ahead of time, and dropping those that retention no longer keeps. One replica does it.

Every step is a short transaction. A step that needs the whole log's lock waits for it a fraction of a second, since
everybody who comes meanwhile waits behind it, and is left to the next run where somebody reads for longer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final, Protocol, TypeVar

from sqlalchemy import ColumnElement, Connection, delete, exists, func, literal_column, select, text

from banditd.core.errors import ConfigurationError, StorageUnavailableError
from banditd.core.ids import lowest_id
from banditd.ports import PRUNED_CURSOR
from banditd.storage import dialect, driver_errors
from banditd.storage.engine import Database
from banditd.storage.partitions.layout import (
    ARRIVING,
    CHILDREN,
    Partition,
    add_partition,
    is_partitioned,
    missing_spans,
    partitions,
    span_of,
    span_start_us,
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


class Archive(Protocol):
    """Where decisions go before their partition does."""

    async def keep(self, below_id: str) -> None:
        """Archive all below that id."""

    async def complete(self) -> None:
        """Archive what came for decisions after that, now that they have left the database."""

    def held(self, connection: Connection) -> list[tuple[str, str]]:
        """(id behind which, id up to which) of archived decisions that are still in the database."""

    def oldest_held(self, connection: Connection) -> tuple[str, str] | None:
        """The first of ``held``; None where there is none, or something came for it after it was archived."""


class SqlPartitions:
    """The partitions of one database's log. archive : None where what is old is deleted for good."""

    def __init__(self, database: Database, *, writer_name: str, archive: Archive | None = None) -> None:
        self._database = database
        self._archive = archive
        self._rows = RowCounter(database.engine, writer_name)

    async def make_ahead(self, now_us: int) -> int:
        """As ``Maintenance.make_partitions``."""
        missing = await self._database.read(lambda connection: missing_spans(connection, now_us))
        for span in missing:
            await self._patiently(lambda connection, span=span: _add(connection, span, now_us))  # type: ignore[misc]
        return len(missing)

    async def drop(self, *, before_us: int) -> int:
        """As ``Maintenance.drop_partitions``."""
        floor = await self._database.read(_oldest)
        if floor is None:
            if self._archive is None:
                return before_us
            await self._archive_and_delete(self._archive, before_us)
            return 0
        for part in await self._database.read(partitions):
            if time_of_id_us(part.to_id) + _SLACK_US > before_us or not await self._archive_and_drop(part):
                break
        floor = await self._database.read(_oldest) or floor
        if self._archive is not None:
            await self._archive.complete()
        await self._sweep(floor.from_id)
        # What is to be archived goes with the next partition, not one by one.
        return 0 if self._archive is not None else min(before_us, time_of_id_us(floor.from_id))

    async def _archive_and_delete(self, archive: Archive, before_us: int) -> None:
        """The same spans of a log on SQLite, which has no partitions: a part of the archive goes at once, or not."""
        if not dialect.is_sqlite(self._database.engine.url):
            raise ConfigurationError(
                "jobs.archive_url archives partitions, and this log has none: stop every daemon and run "
                "'banditd migrate --partition', or take jobs.archive_url out to have old decisions deleted"
            )
        below_id = lowest_id(span_start_us(span_of(before_us - _SLACK_US)))
        if await self._database.read(lambda connection: _is_queued(connection, "", below_id)):
            return
        await archive.keep(below_id)
        while await self._database.write(lambda connection: self._delete_part(connection, archive)):
            pass

    def _delete_part(self, connection: Connection, archive: Archive) -> bool:
        """Delete the oldest archived part that is here, with all that hangs on it; False where it must stay."""
        part = archive.oldest_held(connection)
        if part is None or _is_queued(connection, part[0], f"{part[1]}~"):
            return False
        for table in (*CHILDREN, decision):
            c = table.c.decision_id
            gone = connection.execute(delete(table).where(c > part[0], c <= part[1])).rowcount
            if table is decision or table.name in _COUNTED:
                self._rows.add(connection, table.name, -gone)
        return True

    async def _archive_and_drop(self, part: Partition) -> bool:
        """Whether it is gone; not while the learner has something to do in it, nor while somebody reads the log."""
        if await self._database.read(lambda connection: _is_queued(connection, part.from_id, part.to_id)):
            return False
        if self._archive is not None:
            await self._archive.keep(part.to_id)
        held = await self._database.read(lambda connection: _count(connection, part), report=True)
        try:
            return await self._patiently(lambda connection: self._drop_now(connection, part, held))
        except StorageUnavailableError as error:
            logger.warning("retention.partition_in_use", extra={"partition": part.name, "error": error.message})
            return False

    def _drop_now(self, connection: Connection, part: Partition, held: int) -> bool:
        _wait_briefly(connection)
        # The whole log first, as everybody else does: who held the partition alone would be waited for in a circle.
        connection.execute(text(f'LOCK TABLE ONLY "{decision.name}" IN ACCESS EXCLUSIVE MODE'))
        if part not in partitions(connection):
            return True
        if _is_queued(connection, part.from_id, part.to_id):
            return False
        if self._archive is not None:
            # What the default partition had taken of that time goes with it.
            c = decision.c.decision_id
            for after_id, last_id in self._archive.held(connection):
                old = delete(decision).where(c > after_id, c <= last_id, c < part.from_id)
                held += connection.execute(old).rowcount
        connection.execute(text(f'DROP TABLE "{part.name}"'))
        self._rows.add(connection, decision.name, -held)
        if held and self._archive is None:
            statement = dialect.replace_row(self._database.engine, job_run, ("cursor",))
            connection.execute(statement, {"job": PRUNED_CURSOR, "cursor": time_of_id_us(part.to_id)})
        return True

    async def _sweep(self, below_id: str) -> None:
        """Delete what hung on decisions that went with their partitions."""
        # Those that tell what came go first: ``Archive.complete`` sees by them whether this has begun.
        for table in sorted(CHILDREN, key=lambda table: table not in ARRIVING):
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

    async def _patiently(self, work: Callable[[Connection], T]) -> T:
        """Waits for locks so briefly that nobody waits long behind it, and tries again for some seconds."""
        for _ in range(_TRIES - 1):
            try:
                return await self._transact(work)
            except StorageUnavailableError:
                await asyncio.sleep(_PAUSE_S)
        return await self._transact(work)

    async def _transact(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` on a connection of its own: writes that wait together would fail together with it."""
        return await asyncio.to_thread(self._run, work)

    def _run(self, work: Callable[[Connection], T]) -> T:
        with driver_errors.translated(), dialect.writing(self._database.engine).begin() as connection:
            return work(connection)


def _wait_briefly(connection: Connection) -> None:
    connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_WAIT}'"))


def _add(connection: Connection, span: int, now_us: int) -> None:
    _wait_briefly(connection)
    # Who attaches a partition takes this lock in any case: reads and writes go on beside it.
    connection.execute(text(f'LOCK TABLE ONLY "{decision.name}" IN SHARE UPDATE EXCLUSIVE MODE'))
    if span in missing_spans(connection, now_us):  # else another replica was faster
        add_partition(connection, span)


def _oldest(connection: Connection) -> Partition | None:
    """None where the log has no partitions."""
    return next(iter(partitions(connection)), None) if is_partitioned(connection) else None


def _count(connection: Connection, part: Partition) -> int:
    c = decision.c.decision_id
    query = select(func.count()).select_from(decision).where(c >= part.from_id, c < part.to_id)
    return int(connection.execute(query).scalar_one())


def _is_queued(connection: Connection, from_id: str, to_id: str) -> bool:
    """Whether a learner has rewards of decisions with from_id <= id < to_id to fold.

    What was set aside for another schema may wait for ever.
    """
    return any(
        connection.execute(
            select(
                exists().where(
                    queue.c.decision_id >= from_id,
                    queue.c.decision_id < to_id,
                    queue.c.schema_hash.is_(None),
                )
            )
        ).scalar()
        for queue in QUEUES
    )
