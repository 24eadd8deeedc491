"""Entries that wait to be counted: one that is there is not counted, one that is gone is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Select, Table, exists, select

from banditd.core.errors import DatabaseDamagedError, StorageUnavailableError
from banditd.storage.engine import Database

AT_ONCE: Final = 200  # added up in one transaction

T = TypeVar("T")


class Entries(ABC):
    """The entries of one table, by ``entry_id``."""

    def __init__(self, database: Database, table: Table) -> None:
        self._database = database
        # Those that another replica is adding up are its own (SQLite, which has one writer, locks nothing).
        oldest = select(table.c.entry_id).order_by(table.c.entry_id).limit(AT_ONCE)
        self._oldest = oldest.with_for_update(skip_locked=True)
        self._every = oldest.with_for_update()
        self._waiting = select(exists(select(table.c.entry_id)))

    async def add_up(self) -> None:
        """Count every entry that nobody else is counting: one run of a job."""
        while await self._wait():
            if await self._count_some(self._oldest) < AT_ONCE:
                return

    async def catch_up(self) -> None:
        """Count every entry that is there, and wait for those that another replica counts: before a reading.

        Where nothing can be written (a full disk, a lock that stays), readings show what is counted so far.
        """
        try:
            while await self._wait():
                await self._count_some(self._every)
        except DatabaseDamagedError:
            raise
        except StorageUnavailableError:
            return

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` for a report, once every entry that is there is counted.

        At once where no entry waits, which one state of the database says with it.
        """

        def unless_waiting(connection: Connection) -> tuple[T] | None:
            return None if connection.execute(self._waiting).scalar() else (work(connection),)

        found = await self._database.read(unless_waiting, report=True)
        if found is None:
            await self.catch_up()
            return await self._database.read(work, report=True)
        return found[0]

    @abstractmethod
    def _count(self, connection: Connection, ids: list[str]) -> None:
        """Delete these entries and raise the counters by what they hold."""

    async def _wait(self) -> bool:
        return bool(await self._database.read(lambda connection: connection.execute(self._waiting).scalar()))

    async def _count_some(self, which: Select[Any]) -> int:
        def work(connection: Connection) -> int:
            ids = list(connection.execute(which).scalars())
            if ids:
                self._count(connection, ids)
            return len(ids)

        return await self._database.write(work)
