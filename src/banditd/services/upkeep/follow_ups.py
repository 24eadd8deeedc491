"""Counts follow-ups of answers (asked again, escalated) and, if configured, rewards them; whoever reported them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Final

from banditd.core.errors import BanditdError
from banditd.core.ids import lowest_id
from banditd.core.types import MICROSECONDS_PER_SECOND
from banditd.obs.metrics import Metrics
from banditd.ports import Clock
from banditd.ports.follow_ups import REGENERATION, FollowUp, FollowUpReader
from banditd.services.policy import PolicyRuntime
from banditd.services.walks import RewardInput, Rewards

logger = logging.getLogger(__name__)
LOOKED_BACK_S: Final = 7200
"""Follow-ups of older answers are ignored, because every look would have to read them again."""
CLOCK_SLACK_S: Final = 60


class FollowUps:
    """Counts each follow-up once in this process, and gives ``regeneration_reward`` once among all processes."""

    def __init__(
        self,
        *,
        runtimes: Mapping[str, PolicyRuntime],
        reader: FollowUpReader,
        rewards: Rewards,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._runtimes = runtimes
        self._reader = reader
        self._rewards = rewards
        self._clock = clock
        self._metrics = metrics
        self._counted: dict[str, frozenset[tuple[str, str]]] = {}
        self._refused: set[str] = set()  # decisions that cannot have a reward, not to be tried again

    async def run(self) -> None:
        """Look at the answers of the last two hours that have a follow-up."""
        now_us = self._clock.now_us()
        since_us = now_us - LOOKED_BACK_S * MICROSECONDS_PER_SECOND
        until_us = now_us + CLOCK_SLACK_S * MICROSECONDS_PER_SECOND  # of another replica's clock
        self._refused = {one for one in self._refused if one >= lowest_id(since_us)}
        for name, runtime in self._runtimes.items():
            found = await self._reader.follow_ups(name, since_us, until_us)
            self._count(name, found)
            reward = runtime.config.rewards.regeneration_reward
            if reward is not None:
                await self._give(name, found, reward)

    def _count(self, policy: str, found: Sequence[FollowUp]) -> None:
        """Count new follow-ups; those present at the first look were counted before by some process."""
        seen = {(one.decision_id, "regenerated"): one.arm for one in found if one.regenerated}
        seen |= {(one.decision_id, "escalated"): one.arm for one in found if one.escalated}
        known = self._counted.get(policy)
        self._counted[policy] = frozenset(seen)
        if known is None:
            return
        for key in seen.keys() - known:
            self._metrics.count(self._metrics.follow_ups.answers, policy, seen[key], key[1])

    async def _give(self, policy: str, found: Sequence[FollowUp], reward: float) -> None:
        metric, source = REGENERATION
        scale = self._runtimes[policy].config.rewards.sources[source]
        value = scale.minimum + reward * (scale.maximum - scale.minimum)
        due = [
            RewardInput(
                decision_id=one.decision_id,
                value=value,
                metric=metric,
                source=source,
                metadata={"by": "regeneration"},
                body_hash="regeneration",
            )
            for one in found
            if one.rewardable and one.decision_id not in self._refused
        ]
        outcomes = await self._rewards.submit(due) if due else []
        for reward_input, outcome in zip(due, outcomes, strict=True):
            if isinstance(outcome, BanditdError):
                self._refused.add(reward_input.decision_id)
                logger.info("regeneration.not_rewarded", extra={"policy": policy, "code": outcome.code})
