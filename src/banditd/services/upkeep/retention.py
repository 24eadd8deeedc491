"""What is merged or deleted when it is old enough."""

from __future__ import annotations

from typing import Final

from banditd.ports import Clock, Maintenance
from banditd.ports.comparing import ComparisonStore
from banditd.ports.judging import JudgingStore
from banditd.ports.partitions import LogPartitions
from banditd.ports.probing import ProbeStore
from banditd.services.upkeep.batches import BATCH

_DAY_US: Final = 86_400 * 1_000_000


class Retention:
    """Keeps decisions for ``retention_days`` (0: for ever) and request keys for ``idempotency_s`` seconds.

    judging, probing, comparing : texts that waited too long for their judge go too, also where it is not configured
    any more. partitions : where the log has them, each is dropped when the last of its decisions is old enough.
    """

    def __init__(
        self,
        *,
        maintenance: Maintenance,
        judging: JudgingStore,
        probing: ProbeStore,
        comparing: ComparisonStore,
        clock: Clock,
        retention_days: float,
        idempotency_s: float,
        partitions: LogPartitions | None = None,
    ) -> None:
        self._maintenance = maintenance
        self._judging = judging
        self._probing = probing
        self._comparing = comparing
        self._clock = clock
        self._partitions = partitions
        self._retention_us = int(retention_days * _DAY_US)
        self._idempotency_us = int(idempotency_s * 1e6)

    async def compact_rollups(self) -> None:
        """Merge old roll-up buckets."""
        await self._maintenance.compact_rollups(self._clock.now_us())

    async def run(self) -> None:
        """Delete request keys and decisions older than configured; statistics and roll-ups stay."""
        if self._partitions is not None:
            await self._partitions.make_ahead(self._clock.now_us())
        while await self._judging.drop(self._clock.now_us(), {}):
            pass
        while await self._probing.drop(self._clock.now_us()):
            pass
        while await self._comparing.drop(self._clock.now_us()):
            pass
        kept_from_us = self._clock.now_us() - self._idempotency_us
        while await self._maintenance.forget_keys(before_us=kept_from_us, limit=BATCH) == BATCH:
            pass
        if not self._retention_us:
            return
        before_us = self._clock.now_us() - self._retention_us
        if self._partitions is not None:
            before_us = await self._partitions.drop(before_us=before_us)
        pruned = BATCH
        while pruned == BATCH:
            pruned = await self._maintenance.prune(before_us=before_us, limit=BATCH)
