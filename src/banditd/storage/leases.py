"""Leases: a row with a holder and an expiry.

They decide who works; what makes a stale holder harmless is the check inside the learner's own transaction
(``learning.py``).
"""

from __future__ import annotations

from sqlalchemy import Connection, delete, or_, select

from banditd.core.types import MICROSECONDS_PER_SECOND
from banditd.storage import dialect
from banditd.storage.engine import Database
from banditd.storage.schema import lease


class SqlLeaseStore:
    """``ports.LeaseStore`` over one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def acquire(self, name: str, holder: str, *, ttl_s: float, now_us: int) -> bool:
        expires_at_us = now_us + round(ttl_s * MICROSECONDS_PER_SECOND)
        new = dialect.insert_into(self._database.engine, lease).values(
            name=name, holder=holder, expires_at_us=expires_at_us
        )
        statement = new.on_conflict_do_update(
            index_elements=["name"],
            set_={"holder": new.excluded.holder, "expires_at_us": new.excluded.expires_at_us},
            where=or_(lease.c.holder == holder, lease.c.expires_at_us <= now_us),
        ).returning(lease.c.holder)

        def work(connection: Connection) -> bool:
            return connection.execute(statement).one_or_none() is not None

        return await self._database.write(work)

    async def release(self, name: str, holder: str) -> None:
        statement = delete(lease).where(lease.c.name == name, lease.c.holder == holder)

        def work(connection: Connection) -> None:
            connection.execute(statement)

        await self._database.write(work)

    async def holder(self, name: str) -> str | None:
        query = select(lease.c.holder).where(lease.c.name == name)
        return await self._database.read(lambda connection: connection.execute(query).scalar())
