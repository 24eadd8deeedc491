"""What follows answers, counted, and rewarded where that is configured: one place, whoever has told of it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from banditd.core.errors import BanditdError
from banditd.core.types import MICROSECONDS_PER_SECOND, RewardReceipt
from banditd.obs.metrics import Metrics
from banditd.ports import Clock
from banditd.ports.follow_ups import FollowUp, FollowUpReader
from banditd.services.bundle import RewardInput
from banditd.services.policy import PolicyRuntime

logger = logging.getLogger(__name__)
LOOKED_BACK_S: Final = 7200
"""Who asks again for an older answer is not heard: it would be read anew at every look."""
SOURCE: Final = "implicit"
METRIC: Final = "regeneration"


class Submit(Protocol):
    async def submit(self, rewards: Sequence[RewardInput]) -> list[RewardReceipt | BanditdError]: ...


class FollowUps:
    """Counts each follow-up once in this process, and gives ``regeneration_reward`` once of all."""

    def __init__(
        self,
        *,
        runtimes: Mapping[str, PolicyRuntime],
        reader: FollowUpReader,
        rewards: Submit,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._runtimes = runtimes
        self._reader = reader
        self._rewards = rewards
        self._clock = clock
        self._metrics = metrics
        self._counted: dict[str, frozenset[tuple[str, str]]] = {}

    async def run(self) -> None:
        """Look at the answers of the last two hours that something has followed."""
        since_us = self._clock.now_us() - LOOKED_BACK_S * MICROSECONDS_PER_SECOND
        for name, runtime in self._runtimes.items():
            found = await self._reader.follow_ups(name, since_us)
            self._count(name, found)
            reward = runtime.config.rewards.regeneration_reward
            if reward is not None:
                await self._give(name, found, reward)

    def _count(self, policy: str, found: Sequence[FollowUp]) -> None:
        """What was there at the first look is another process's, or a former life's."""
        seen = {(one.decision_id, "regenerated"): one.arm for one in found if one.regenerated}
        seen |= {(one.decision_id, "escalated"): one.arm for one in found if one.escalated}
        known = self._counted.get(policy)
        self._counted[policy] = frozenset(seen)
        if known is None:
            return
        for key in seen.keys() - known:
            self._metrics.count(self._metrics.follow_ups.answers, policy, seen[key], key[1])

    async def _give(self, policy: str, found: Sequence[FollowUp], reward: float) -> None:
        scale = self._runtimes[policy].config.rewards.sources[SOURCE]
        value = scale.minimum + reward * (scale.maximum - scale.minimum)
        due = [
            RewardInput(
                decision_id=one.decision_id,
                value=value,
                metric=METRIC,
                source=SOURCE,
                metadata={"by": "regeneration"},
                body_hash="regeneration",
            )
            for one in found
            if one.regenerated and one.owned and not one.rewarded
        ]
        for outcome in await self._rewards.submit(due) if due else ():
            if isinstance(outcome, BanditdError):
                logger.info("regeneration.not_rewarded", extra={"policy": policy, "code": outcome.code})
