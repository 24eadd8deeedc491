"""The guard of a policy's budgets: the mixture, and what is concluded from logged decisions."""

from __future__ import annotations

import numpy as np
import pytest

from banditd.core.types import Blend
from banditd.ports import GuardedOutcome
from banditd.services.money.guard import PolicyGuard, judge

ARMS = ("cheap", "middle", "dear")
COST = np.array([0.001, 0.004, 0.02])


class Recent:
    """Rewarded decisions, and how often they were asked for."""

    def __init__(self, outcomes: list[GuardedOutcome]) -> None:
        self.outcomes, self.asked = outcomes, 0

    async def guarded(self, policy: str, limit: int) -> list[GuardedOutcome]:
        self.asked += 1
        return self.outcomes

    async def usage(self, policy: str, schema_hash: str, limit: int, of_each_arm: int) -> list[object]:
        raise NotImplementedError


def outcomes(n: int, *, own_reward: float, fixed_reward: float, share: float = 0.5) -> list[GuardedOutcome]:
    """The policy's own vector plays arm 1, the mixture arm 0; predictions say that both are as good."""
    rng = np.random.default_rng(3)
    own, fixed = np.array([0.02, 0.98, 0.0]), np.array([1.0, 0.0, 0.0])
    played = share * own + (1 - share) * fixed
    made = []
    for _ in range(n):
        index = int(rng.random() < played[1])
        reward = float(rng.random() < (fixed_reward, own_reward)[index])
        made.append(GuardedOutcome(index, reward, Blend(share, fixed), played.tolist(), [0.5] * 3, [0.0] * 3))
    return made


async def test_it_is_an_alarm_where_contexts_cost_reward_and_none_where_they_pay() -> None:
    worse = PolicyGuard("default", Recent(outcomes(800, own_reward=0.3, fixed_reward=0.7)))
    better = PolicyGuard("default", Recent(outcomes(800, own_reward=0.7, fixed_reward=0.3)))
    assert (worse.alarm, worse.advantage) == (False, None)
    await worse.refresh(1)
    await better.refresh(1)
    assert worse.alarm
    assert not better.alarm


def test_the_comparison_finds_the_difference_whatever_was_predicted() -> None:
    mean, error = judge(outcomes(4000, own_reward=0.8, fixed_reward=0.3)).advantage
    assert mean == pytest.approx(0.98 * 0.5, abs=3.5 * error)
    assert error < 0.1


async def test_a_restart_keeps_the_verdict() -> None:
    log = Recent(outcomes(800, own_reward=0.45, fixed_reward=0.5))
    before, after = PolicyGuard("default", log), PolicyGuard("default", log)
    await before.refresh(7)
    await after.refresh(9)
    assert before.advantage is not None
    assert (after.alarm, after.advantage) == (before.alarm, before.advantage)


async def test_the_log_is_read_only_when_rewards_have_come() -> None:
    recent = Recent(outcomes(10, own_reward=0.5, fixed_reward=0.5))
    guard = PolicyGuard("default", recent)
    for version in (3, 3, 4):
        await guard.refresh(version)
    assert recent.asked == 2


def test_the_mixture_is_of_the_arms_that_may_answer() -> None:
    guard = PolicyGuard("default", Recent([]))
    assert guard.fixed(ARMS, np.arange(3), COST, 0.002) is None
    guard.observe(ARMS, np.arange(3), np.array([0.5, 0.8, 0.9]), COST)
    assert guard.fixed(ARMS, np.arange(3), COST, 0.0025) == pytest.approx([0.5, 0.5, 0.0])
    assert guard.fixed(ARMS, np.array([1, 2]), COST[1:], 0.0025) == pytest.approx([1.0, 0.0])
    guard.forget()
    assert guard.fixed(ARMS, np.arange(3), COST, 0.0025) is None
