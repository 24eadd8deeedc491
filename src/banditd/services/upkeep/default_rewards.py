"""Default rewards for decisions whose window closed without one."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final, Protocol

from banditd.ports import Clock, JobStore, RewardLog
from banditd.services.policy import PolicyRuntime
from banditd.services.upkeep.batches import BATCH, OVERLAP_US

logger = logging.getLogger(__name__)
_CLOCK_SLACK_US: Final = 60 * 1_000_000  # a clock set back by less than this was merely corrected


class Defaults(Protocol):
    async def default(self, policy: str, decision_ids: list[str], value: float) -> int: ...


class DefaultRewards:
    """Gives each policy's ``default_reward``, if it has one."""

    def __init__(
        self,
        *,
        runtimes: Mapping[str, PolicyRuntime],
        rewards: RewardLog,
        defaults: Defaults,
        jobs: JobStore,
        clock: Clock,
    ) -> None:
        self._runtimes = runtimes
        self._rewards = rewards
        self._defaults = defaults
        self._jobs = jobs
        self._clock = clock

    async def run(self) -> None:
        """Give decisions whose window closed without a reward their policy's default, if it has one."""
        now_us = self._clock.now_us()
        for name, runtime in self._runtimes.items():
            await self._give_defaults(name, runtime.config.rewards.default_reward, now_us)

    async def _give_defaults(self, policy: str, value: float | None, now_us: int) -> None:
        cursor = f"default_rewards:{policy}"
        reached_us = await self._jobs.cursor(cursor)
        if value is None:
            if reached_us:
                await self._jobs.set_cursor(cursor, 0)
            return
        if not reached_us:
            # A new default applies to windows that close from now on, not to the whole log: the cursor starts so late
            # that even looking back does not reach before this moment.
            await self._jobs.set_cursor(cursor, now_us + OVERLAP_US)
            return
        if reached_us > now_us + OVERLAP_US + _CLOCK_SLACK_US:
            # Set by a clock that was ahead, when every default due by now was given; looking back finds the rest.
            logger.warning("job.cursor_from_the_future", extra={"cursor": cursor})
            reached_us = now_us
        while True:
            due = await self._rewards.unrewarded(policy, reached_us - OVERLAP_US, now_us, BATCH)
            given = await self._defaults.default(policy, [d.decision_id for d in due], value) if due else 0
            # Those just given a default now have a reward, so the same range returns the next ones.
            if len(due) < BATCH or not given:
                break
        await self._jobs.set_cursor(cursor, max(now_us, reached_us))
