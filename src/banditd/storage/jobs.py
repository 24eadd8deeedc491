"""Runs and cursors of the jobs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, select, update

from banditd.storage import dialect
from banditd.storage.engine import Database
from banditd.storage.schema import job_run


class SqlJobStore:
    """``ports.JobStore`` over one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def started(self, job: str, at_us: int) -> None:
        await self._upsert(job, {"started_at_us": at_us})

    async def finished(self, job: str, at_us: int, *, duration_s: float, error: str | None) -> None:
        def work(connection: Connection) -> None:
            self._store(connection, job, {"finished_at_us": at_us, "duration_s": duration_s, "error": error})
            connection.execute(
                update(job_run)
                .where(job_run.c.job == job)
                .values(runs=job_run.c.runs + 1, failures=job_run.c.failures + int(error is not None))
            )

        await self._database.write(work)

    async def runs(self) -> list[Mapping[str, object]]:
        """Jobs that have been started; a name that only keeps a cursor is none."""
        query = select(job_run).where(job_run.c.started_at_us.is_not(None)).order_by(job_run.c.job)
        return await self._database.read(
            lambda connection: [dict(row) for row in connection.execute(query).mappings()]
        )

    async def cursor(self, job: str) -> int:
        query = select(job_run.c.cursor).where(job_run.c.job == job)
        return await self._database.read(lambda connection: connection.execute(query).scalar() or 0)

    async def set_cursor(self, job: str, value: int) -> None:
        await self._upsert(job, {"cursor": value})

    async def _upsert(self, job: str, values: Mapping[str, Any]) -> None:
        await self._database.write(lambda connection: self._store(connection, job, values))

    def _store(self, connection: Connection, job: str, values: Mapping[str, Any]) -> None:
        statement = dialect.replace_row(self._database.engine, job_run, values)
        connection.execute(statement, {"job": job, **values})
