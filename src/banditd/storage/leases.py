"""Leases: a row with a holder and an expiry.

They decide who works; what makes a stale holder harmless is the check inside the learner's own transaction
(``learning.py``). An expiry further away than a lease lasts was written by a clock that was wrong, and would keep
everybody out for as long as that clock was ahead: it is not believed, unless its holder is seen to renew it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

from sqlalchemy import Connection, and_, delete, or_, select

from banditd.core.types import MICROSECONDS_PER_SECOND
from banditd.storage import dialect
from banditd.storage.engine import Database
from banditd.storage.schema import lease

logger = logging.getLogger(__name__)
SLACK_S: Final = 2.0
"""By how much the clocks of replicas may disagree."""

_Row = tuple[str, int]  # holder, expires_at_us


class SqlLeaseStore:
    """``ports.LeaseStore`` over one database."""

    def __init__(self, database: Database, *, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._monotonic_s = monotonic_s
        self._seen: dict[str, tuple[_Row, float]] = {}  # leases too far ahead: how they were, and since when

    async def acquire(self, name: str, holder: str, *, ttl_s: float, now_us: int) -> bool:
        expires_at_us = now_us + round(ttl_s * MICROSECONDS_PER_SECOND)
        new = dialect.insert_into(self._database.engine, lease).values(
            name=name, holder=holder, expires_at_us=expires_at_us
        )
        c = lease.c

        def work(connection: Connection) -> bool:
            free = [c.holder == holder, c.expires_at_us <= now_us]
            found = self._unbelievable(connection, name, holder, expires_at_us, ttl_s)
            if found is not None:
                free.append(and_(c.holder == found[0], c.expires_at_us == found[1]))
            statement = new.on_conflict_do_update(
                index_elements=["name"],
                set_={"holder": new.excluded.holder, "expires_at_us": new.excluded.expires_at_us},
                where=or_(*free),
            ).returning(c.holder)
            return connection.execute(statement).one_or_none() is not None

        return await self._database.write(work)

    def _unbelievable(
        self, connection: Connection, name: str, holder: str, longest_us: int, ttl_s: float
    ) -> _Row | None:
        """The row where it ends later than any lease taken now, and is not seen to be renewed."""
        row = connection.execute(
            select(lease.c.holder, lease.c.expires_at_us).where(lease.c.name == name)
        ).one_or_none()
        if row is None or row.holder == holder or row.expires_at_us <= longest_us + SLACK_S * MICROSECONDS_PER_SECOND:
            self._seen.pop(name, None)
            return None
        found = (str(row.holder), int(row.expires_at_us))
        now_s = self._monotonic_s()
        before = self._seen.get(name)
        self._seen[name] = (found, now_s if before is None or before[0] != found else before[1])
        # Holders renew in a third of the time. One whose clock is ahead of ours is alive all the same.
        if before is not None and (before[0] != found or now_s - before[1] < ttl_s / 2):
            return None
        logger.warning("lease.from_the_future", extra={"lease": name, "holder": found[0]})
        return found

    async def release(self, name: str, holder: str) -> None:
        statement = delete(lease).where(lease.c.name == name, lease.c.holder == holder)

        def work(connection: Connection) -> None:
            connection.execute(statement)

        await self._database.write(work)

    async def holder(self, name: str) -> str | None:
        query = select(lease.c.holder).where(lease.c.name == name)
        return await self._database.read(lambda connection: connection.execute(query).scalar())

    async def expiry(self, name: str) -> tuple[str, int] | None:
        query = select(lease.c.holder, lease.c.expires_at_us).where(lease.c.name == name)

        def work(connection: Connection) -> _Row | None:
            row = connection.execute(query).one_or_none()
            return None if row is None else (str(row.holder), int(row.expires_at_us))

        return await self._database.read(work)
