from __future__ import annotations

import numpy as np
import pytest

from banditd.budget.pacer import CREDIT, OVERDRAFT, Pacer, solve_price
from banditd.core.errors import ConfigurationError

COST = np.array([0.0001, 0.001, 0.01])


def traffic(pacer: Pacer, decisions: int, seed: int = 0, *, actual: float = 1.0) -> tuple[float, float]:
    """Play best utility on random queries; (mean reward, mean cost)."""
    generator = np.random.default_rng(seed)
    reward = cost = 0.0
    for _ in range(decisions):
        mean = np.array([0.5, 0.6, 0.7]) + generator.normal(0, 0.1, 3)
        allowed = np.flatnonzero(pacer.mask(COST))
        utility = mean[allowed] - pacer.price_per_usd * COST[allowed]
        arm = int(allowed[utility.argmax()])
        pacer.observe(mean[allowed], COST[allowed])
        pacer.reserve(float(COST[arm]))
        pacer.settle(float(COST[arm]), actual * float(COST[arm]))
        reward += mean[arm]
        cost += actual * float(COST[arm])
    return reward / decisions, cost / decisions


@pytest.mark.parametrize("budget", [0.0003, 0.001, 0.003])
def test_the_spend_meets_a_binding_budget(budget: float) -> None:
    _, cost = traffic(Pacer(budget), 4000)
    assert cost == pytest.approx(budget, rel=0.05)


def test_a_loose_budget_has_no_price() -> None:
    pacer = Pacer(0.02)
    reward, _ = traffic(pacer, 1000)
    assert pacer.price_per_usd == 0.0
    assert reward > 0.7


def test_costs_above_their_prediction_are_steered_against() -> None:
    _, cost = traffic(Pacer(0.001), 4000, actual=1.5)
    assert cost == pytest.approx(0.001, rel=0.07)


def test_the_bucket_never_owes_more_than_the_overdraft_when_costs_are_as_predicted() -> None:
    pacer = Pacer(0.0002)
    generator = np.random.default_rng(0)
    for _ in range(3000):  # somebody who always takes the dearest arm that the mask allows
        allowed = np.flatnonzero(pacer.mask(COST))
        arm = int(allowed[-1])
        pacer.observe(generator.random(allowed.size), COST[allowed])
        pacer.reserve(float(COST[arm]))
        assert -CREDIT <= pacer.deficit <= OVERDRAFT + 1e-9
    assert pacer.spent_usd <= 0.0002 * (3000 + OVERDRAFT)


def test_the_cheapest_arm_is_always_allowed() -> None:
    pacer = Pacer(1e-6)
    pacer.reserve(1.0)
    assert pacer.mask(COST).tolist() == [True, False, False]


def test_a_restart_keeps_the_debt_and_the_price() -> None:
    pacer = Pacer(0.0005)
    traffic(pacer, 500)
    restored = Pacer.restore(0.0005, pacer.to_json())
    assert restored.to_json() == pacer.to_json()
    assert (restored.deficit, restored.spent_usd) == (pacer.deficit, pacer.spent_usd)
    assert Pacer.restore(0.0005, None).deficit == 0.0


def test_another_target_keeps_the_debt_in_dollars_and_is_met() -> None:
    pacer = Pacer(0.003)
    traffic(pacer, 1000)
    owed = pacer.owed_usd
    pacer.retarget(0.0003)
    assert pacer.owed_usd == owed
    assert pacer.deficit == pytest.approx(owed / 0.0003)
    pacer.owed_usd = 0.0
    _, cost = traffic(pacer, 2000, seed=1)
    assert cost == pytest.approx(0.0003, rel=0.05)


def test_a_debt_from_elsewhere_is_paid_back() -> None:
    pacer = Pacer(0.001)
    traffic(pacer, 500)
    before = pacer.owed_usd
    pacer.owe(0.02)
    assert pacer.owed_usd == pytest.approx(before + 0.02)
    traffic(pacer, 2000, seed=1)
    assert pacer.deficit < 5.0


def test_a_state_that_counted_in_decisions_can_still_be_read() -> None:
    old = '{"deficit": 3.0, "spent_usd": 1.0, "decisions": 9, "low": 0.0, "high": 0.0, "low_share": 0.0}'
    assert Pacer.restore(0.002, old).owed_usd == pytest.approx(0.006)


@pytest.mark.parametrize("budget", [0.0, -1.0, float("nan"), float("inf")])
def test_a_budget_that_is_no_budget_is_refused(budget: float) -> None:
    with pytest.raises(ConfigurationError):
        Pacer(budget)
    with pytest.raises(ConfigurationError):
        Pacer(1.0).retarget(budget)


def test_the_price_splits_the_kink_so_that_the_target_is_met() -> None:
    mean = np.tile([0.5, 0.7], (100, 1))  # every decision alike: one kink at 0.2 / (c1 - c0)
    cost = np.tile([1.0, 3.0], (100, 1))
    low, high, share = solve_price(mean, cost, 1.5)
    assert low <= 0.1 <= high
    assert high - low < 1e-3
    assert share == pytest.approx(0.25, abs=1e-6)


def test_a_target_below_the_cheapest_arm_plays_only_that_arm() -> None:
    mean, cost = np.tile([0.5, 0.7], (10, 1)), np.tile([1.0, 3.0], (10, 1))
    _, high, share = solve_price(mean, cost, 0.1)
    assert share == 0.0
    assert (mean - high * cost).argmax(axis=1).tolist() == [0] * 10


def test_free_arms_need_no_price() -> None:
    assert solve_price(np.array([[0.1, 0.2]]), np.zeros((1, 2)), 0.5) == (0.0, 0.0, 0.0)
