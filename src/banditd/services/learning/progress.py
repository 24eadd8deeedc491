"""Whether anybody learns: rewards that wait must not wait for ever, whoever the learner is.

Every replica looks for itself, as often as it polls. Where a policy has rewards in the queue and its version has not
moved for three leases, the learner that should be there is not, or fails at every try.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final

from banditd.ports import LearningStore

LEASES: Final = 3


class Progress:
    """When each policy was last seen to learn, or to have nothing to learn.

    store : where the queue is. schemas : policy to the hash of its feature schema. monotonic_s : a clock that only
    goes forward.
    """

    def __init__(
        self,
        store: LearningStore,
        schemas: Mapping[str, str],
        *,
        lease_s: float,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._schemas = dict(schemas)
        self._longest_s = LEASES * lease_s
        self._monotonic_s = monotonic_s
        self._versions: Mapping[str, int] = {}
        self._well_s = dict.fromkeys(schemas, monotonic_s())

    async def look(self) -> frozenset[str]:
        """See what has moved. The policies that have rewards waiting."""
        waiting = await self._store.waiting(self._schemas)
        versions = await self._store.versions(self._schemas)
        now_s = self._monotonic_s()
        for policy in self._schemas:
            if policy not in waiting or versions.get(policy) != self._versions.get(policy):
                self._well_s[policy] = now_s
        self._versions = versions
        return waiting

    async def stalled(self) -> list[str]:
        """Policies whose rewards wait, and of which nobody has learned for three leases."""
        waiting = await self.look()
        now_s = self._monotonic_s()
        return sorted(policy for policy in waiting if now_s - self._well_s[policy] > self._longest_s)
