"""Waiting rewards: does anybody learn them, and which ones can this learner not fold?

Every replica checks this itself whenever it polls. If a policy has queued rewards and its version has not changed for
three leases, its learner is missing or fails at every attempt.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Final

from banditd.ports import FoldItem, LearningStore

logger = logging.getLogger(__name__)
LEASES: Final = 3


class Progress:
    """When each policy was last seen to learn, or to have nothing to learn.

    store : has the queue.
    schemas : policy -> hash of its feature schema.
    monotonic_s : a monotonic clock.
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
        """Check for progress. Returns the policies that have rewards waiting."""
        waiting = await self._store.waiting(self._schemas)
        versions = await self._store.versions(self._schemas)
        now_s = self._monotonic_s()
        for policy in self._schemas:
            if policy not in waiting or versions.get(policy) != self._versions.get(policy):
                self._well_s[policy] = now_s
        self._versions = versions
        return waiting

    async def stalled(self) -> list[str]:
        """Policies with waiting rewards that nobody has learned for three leases."""
        waiting = await self.look()
        now_s = self._monotonic_s()
        return sorted(policy for policy in waiting if now_s - self._well_s[policy] > self._longest_s)


class ForeignRewards:
    """Logs rewards of another feature schema, or of damaged decisions, and remembers which schemas it has logged."""

    def __init__(self) -> None:
        self._named: set[tuple[str, str]] = set()

    def tell(self, item: FoldItem) -> None:
        """Log, once per schema, that rewards wait for a learner of that schema; log every damaged decision."""
        if item.damage:
            logger.error("decision.damaged", extra={"decision_id": item.decision_id, "reason": item.damage})
        elif (item.policy, item.schema_hash) not in self._named:
            self._named.add((item.policy, item.schema_hash))
            logger.warning(
                "reward.schema_differs",
                extra={"policy": item.policy, "decision_id": item.decision_id, "schema": item.schema_hash},
            )
