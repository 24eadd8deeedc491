"""The learner's lease: whoever holds it is the single writer of every policy."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Final

from banditd.core.errors import ConflictError, StorageUnavailableError
from banditd.ports import Clock, LeaseStore

logger = logging.getLogger(__name__)
LEASE: Final = "learner"
_LOOK_S: Final = 0.1
_SLACK_S: Final = 1.0


class LearnerLease:
    """The lease as the learner holds it: for ``lease_s`` seconds after each renewal."""

    def __init__(self, leases: LeaseStore, clock: Clock, holder: str, *, lease_s: float) -> None:
        self._leases = leases
        self._clock = clock
        self.holder = holder
        self.lease_s = lease_s
        self.held = False
        self._next_s = 0.0

    async def renew(self, now_s: float) -> bool:
        """Take or renew the lease if that is due at ``now_s`` (the loop's clock).

        Returns whether it was just taken.
        """
        if now_s < self._next_s:
            return False
        had = self.held
        self.held = await self._leases.acquire(LEASE, self.holder, ttl_s=self.lease_s, now_us=self._clock.now_us())
        self._next_s = now_s + self.lease_s / 3
        if self.held and not had:
            logger.info("learner.leads", extra={"holder": self.holder})
        elif had and not self.held:
            logger.warning("learner.lease_lost", extra={"holder": self.holder})
        return self.held and not had

    def doubt(self) -> None:
        """A commit failed because the lease was lost: check at the next step."""
        self._next_s = 0.0

    async def release(self) -> None:
        """Release it for another replica; if the database is unavailable, it expires by itself."""
        if self.held:
            with contextlib.suppress(StorageUnavailableError):
                await self._leases.release(LEASE, self.holder)
            self.held = False


async def take_lease(leases: LeaseStore, clock: Clock, holder: str, *, lease_s: float) -> None:
    """Take the learner's lease for ``lease_s``; waits for an abandoned lease to expire.

    A daemon that was killed leaves its lease behind, perhaps expiring far in the future if a clock was wrong. A
    running daemon renews it within a third of its duration.

    Raises
    ------
    ConflictError : a learner is running.
    """
    loop = asyncio.get_running_loop()
    until_s = loop.time() + lease_s + _SLACK_S
    found = await leases.expiry(LEASE)
    while not await leases.acquire(LEASE, holder, ttl_s=lease_s, now_us=clock.now_us()):
        if await leases.expiry(LEASE) != found or loop.time() > until_s:
            raise ConflictError("a learner is running on this database; stop the daemon before --write")
        await asyncio.sleep(_LOOK_S)
