"""Taking the learner's lease for a while, for work that no learner may do at the same time."""

from __future__ import annotations

import asyncio
from typing import Final

from banditd.core.errors import ConflictError
from banditd.ports import Clock, LeaseStore

LEASE: Final = "learner"
_LOOK_S: Final = 0.1
_SLACK_S: Final = 1.0


async def take_lease(leases: LeaseStore, clock: Clock, holder: str, *, lease_s: float) -> None:
    """Hold the learner's lease for ``lease_s``; waits for one that nobody renews to end.

    A daemon that was killed leaves its lease behind, perhaps with an end in the far future of a clock that was wrong.
    One that runs renews it within a third of its time.

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
