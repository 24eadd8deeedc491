"""Queues whose rows are claimed until a time. A claim is a word in the row: whoever ends it must still have it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, RowMapping, Select, Table, and_, delete, func, select, update

from banditd.core.ids import new_id
from banditd.storage import dialect
from banditd.storage.engine import Database

CHUNK: Final = 500
"""Rows that are dropped in one transaction."""


async def claim(
    database: Database,
    tasks: Table,
    judge: str,
    *,
    limit: int,
    until_us: int,
    now_us: int,
    max_attempts: int,
    **values: object,
) -> list[RowMapping]:
    """Claim a judge's rows that nobody holds now, those that are due first. values : what claiming notes besides."""
    c = tasks.c
    free = and_(c.judge == judge, c.due_at_us <= now_us, c.expires_at_us > now_us, c.attempts < max_attempts)
    wanted = select(c.task_id).where(free).order_by(c.due_at_us, c.task_id).limit(limit)
    if not await database.finds(wanted):
        return []

    def work(connection: Connection) -> list[RowMapping]:
        ids = locked(connection, database, wanted)
        noted = {"due_at_us": until_us, "attempts": c.attempts + 1, "lease": new_id(now_us), **values}
        claimed = update(tasks).where(c.task_id.in_(ids), free).values(noted).returning(tasks)
        return sorted(connection.execute(claimed).mappings(), key=lambda row: str(row["task_id"]))

    return await database.write(work)


def take(connection: Connection, tasks: Table, task_id: str, lease: str) -> RowMapping | None:
    """The row, taken out of its queue, where this claim of it stands."""
    c = tasks.c
    taken = delete(tasks).where(c.task_id == task_id, c.lease == lease).returning(tasks)
    return connection.execute(taken).mappings().one_or_none()


def give_back(
    connection: Connection, tasks: Table, task_id: str, lease: str, *, due_at_us: int, max_attempts: int
) -> tuple[str, str, bool] | None:
    """The row may be claimed again from then on, or is deleted after its last try, where this claim of it stands.

    Returns (judge, policy, whether that was the last try).
    """
    c = tasks.c
    this_claim = and_(c.task_id == task_id, c.lease == lease)
    back = update(tasks).where(this_claim).values(due_at_us=due_at_us, lease=None).returning(tasks)
    row = connection.execute(back).one_or_none()
    if row is None:
        return None
    last = row.attempts >= max_attempts
    if last:
        connection.execute(delete(tasks).where(c.task_id == task_id))
    return row.judge, row.policy, last


def locked(connection: Connection, database: Database, wanted: Select[Any]) -> Sequence[Any]:
    """The first column of the rows that a query finds, which are locked."""
    return connection.execute(dialect.lock_exclusive(database.engine, wanted)).scalars().all()


def waiting(connection: Connection, tasks: Table, *which: ColumnElement[bool]) -> dict[str, int]:
    """Rows in a queue by judge, of those for which this holds."""
    c = tasks.c
    query = select(c.judge, func.count()).where(*which).group_by(c.judge)
    return {judge: int(count) for judge, count in connection.execute(query)}
