"""Settles decisions whose usage was never reported."""

from __future__ import annotations

from collections.abc import Mapping

from banditd.ports import Clock, JobStore, RewardLog
from banditd.services.policy import PolicyRuntime
from banditd.services.upkeep.batches import BATCH, OVERLAP_US


class SilentUsage:
    """Charges the predicted cost if no usage is reported within ``window_s`` seconds."""

    def __init__(
        self,
        *,
        runtimes: Mapping[str, PolicyRuntime],
        rewards: RewardLog,
        jobs: JobStore,
        clock: Clock,
        window_s: float,
    ) -> None:
        self._runtimes = runtimes
        self._rewards = rewards
        self._jobs = jobs
        self._clock = clock
        self._window_us = int(window_s * 1e6)

    async def run(self) -> None:
        """Settle decisions without usage at their predicted cost, and those never activated at nothing.

        The time limit starts when a decision serves: for a deferred one with its activation.
        """
        until_us = self._clock.now_us() - self._window_us
        for name in self._runtimes:
            cursor = f"usage_silence:{name}"
            # At most now: it may have been set by a clock that was ahead.
            since_us = max(0, min(await self._jobs.cursor(cursor), until_us) - OVERLAP_US)
            while True:
                silent = await self._rewards.silent_usage(name, since_us, until_us, BATCH)
                ids = [decision_id for decision_id, _, _ in silent]
                charged = await self._rewards.charge_estimate(ids, self._clock.now_us()) if ids else 0
                if len(silent) < BATCH or not charged:
                    break
            while abandoned := await self._rewards.abandoned(name, since_us, until_us, BATCH):
                await self._rewards.release(abandoned, self._clock.now_us())
            await self._jobs.set_cursor(cursor, until_us)
