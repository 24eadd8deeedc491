"""Merges or deletes what is old enough."""

from __future__ import annotations

from banditd.core.types import DAY_US
from banditd.ports import Clock, Maintenance
from banditd.ports.candidates import ShadowStore
from banditd.ports.comparing import ComparisonStore
from banditd.ports.judging import JudgingStore
from banditd.ports.probing import ProbeStore
from banditd.services.upkeep.batches import BATCH


class Retention:
    """Keeps decisions for ``retention_days`` (0: for ever) and request keys for ``idempotency_s`` seconds.

    judging, probing, comparing : texts that waited too long for their judge are deleted too, even if that is no
    longer configured.
    shadows : what deleted shadows have left behind is deleted.
    """

    def __init__(
        self,
        *,
        maintenance: Maintenance,
        judging: JudgingStore,
        probing: ProbeStore,
        comparing: ComparisonStore,
        shadows: ShadowStore,
        clock: Clock,
        retention_days: float,
        idempotency_s: float,
    ) -> None:
        self._maintenance = maintenance
        self._judging = judging
        self._probing = probing
        self._comparing = comparing
        self._shadows = shadows
        self._clock = clock
        self._retention_us = int(retention_days * DAY_US)
        self._idempotency_us = int(idempotency_s * 1e6)

    async def compact_rollups(self) -> None:
        """Merge old roll-up buckets."""
        await self._maintenance.compact_rollups(self._clock.now_us())

    async def run(self) -> None:
        """Delete old request keys, sessions and decisions; statistics and roll-ups stay."""
        await self._maintenance.make_partitions(self._clock.now_us())
        while await self._judging.drop(self._clock.now_us(), {}):
            pass
        while await self._probing.drop(self._clock.now_us()):
            pass
        while await self._comparing.drop(self._clock.now_us()):
            pass
        while await self._shadows.forget_rows(BATCH):
            pass
        kept_from_us = self._clock.now_us() - self._idempotency_us
        while await self._maintenance.forget_keys(before_us=kept_from_us, limit=BATCH) == BATCH:
            pass
        if not self._retention_us:
            return
        old_us = self._clock.now_us() - self._retention_us
        while await self._maintenance.forget_sessions(before_us=old_us, limit=BATCH) >= BATCH:
            pass
        before_us = await self._maintenance.drop_partitions(before_us=old_us)
        pruned = BATCH
        while pruned == BATCH:
            pruned = await self._maintenance.prune(before_us=before_us, limit=BATCH)
