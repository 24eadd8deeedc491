from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from banditd.budget.pacer import CREDIT, HORIZON, IDLE_CREDIT, OVERDRAFT, Exploration, Pacer, solve_price
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


def spend_at(mean: np.ndarray, cost: np.ndarray, price: float) -> float:
    return float(np.take_along_axis(cost, (mean - price * cost).argmax(axis=1)[:, None], axis=1).mean())


@given(seed=st.integers(0, 10_000), arms=st.integers(2, 6), part=st.floats(0.05, 0.95))
@settings(max_examples=60)
def test_the_spend_at_the_price_meets_the_target_on_the_window(seed: int, arms: int, part: float) -> None:
    generator = np.random.default_rng(seed)
    cost = generator.lognormal(0.0, 1.0, (200, arms)) * 10.0 ** generator.uniform(-5, -2, arms)
    mean = generator.random((200, arms))
    least, most = float(cost.min(axis=1).mean()), spend_at(mean, cost, 0.0)
    target = least + part * (most - least)
    low, high, share = solve_price(mean, cost, target)
    spent = share * spend_at(mean, cost, low) + (1.0 - share) * spend_at(mean, cost, high)
    assert spent == pytest.approx(target, rel=1e-3)


def test_exploration_is_inside_the_budget() -> None:
    """Greedy arms and what is tried beside them together spend the target, also as exploration falls with price."""
    generator = np.random.default_rng(0)
    mean, cost = generator.random((400, 3)), np.tile(COST, (400, 1))
    exploration = Exploration(usd=0.0004, at_price=30.0)
    low, high, share = solve_price(mean, cost, 0.002, exploration=exploration)
    parts = [spend_at(mean, cost, price) + exploration.at(price) for price in (low, high)]
    assert share * parts[0] + (1.0 - share) * parts[1] == pytest.approx(0.002, rel=1e-3)
    assert high > solve_price(mean, cost, 0.002)[1]
    assert exploration.at(60.0) == pytest.approx(0.0002)


def test_a_policy_that_explores_holds_the_budget() -> None:
    pacer, generator, total = Pacer(0.001), np.random.default_rng(5), 0.0
    for _ in range(5000):
        mean = np.array([0.5, 0.6, 0.7]) + generator.normal(0, 0.1, 3)
        allowed = pacer.mask(COST)
        utility = np.where(allowed, mean - pacer.price_per_usd * COST, -np.inf)
        probability = np.where(allowed, 0.02, 0.0)  # the dearest arm alone takes a fifth of the budget
        probability[int(utility.argmax())] += 1.0 - probability.sum()
        arm = int(generator.choice(3, p=probability))
        pacer.observe(mean, COST, probability=probability)
        pacer.reserve(float(COST[arm]))
        total += float(COST[arm])
    assert total / 5000 == pytest.approx(0.001, rel=0.03)


@given(seed=st.integers(0, 10_000), exponent=st.floats(-4.5, -2.0))
@settings(max_examples=40)
def test_the_debt_never_exceeds_the_overdraft_by_more_than_one_call_errs(seed: int, exponent: float) -> None:
    """Whoever takes the dearest arm that may be had, at costs that are only right in the mean."""
    budget, generator = 10.0**exponent, np.random.default_rng(seed)
    pacer, least = Pacer(budget), 0.5 * 10.0**exponent
    cost = np.array([least, 3.0 * budget, 20.0 * budget])
    spread = 0.5 * cost
    for _ in range(400):
        mask = pacer.mask(cost, spread)
        arm = int(np.flatnonzero(mask)[-1])
        before = pacer.deficit
        actual = float(cost[arm] * generator.lognormal(-0.11, 0.47))
        pacer.observe(generator.random(3), cost)
        pacer.reserve(float(cost[arm]))
        pacer.settle(float(cost[arm]), actual)
        error = max(actual - cost[arm] - 2.0 * spread[arm], 0.0) / budget
        if arm > 0:  # the cheapest arm may always be had
            assert pacer.deficit <= OVERDRAFT + error + 1e-9
        else:
            assert pacer.deficit <= before + actual / budget


def test_no_debt_is_made_that_could_not_be_paid_back() -> None:
    """The cheapest arm leaves a hundredth of the budget: a dear call must be saved up for."""
    pacer, cost = Pacer(0.001), np.array([0.00099, 0.01])
    for _ in range(20):
        pacer.observe(np.array([0.5, 0.9]), cost)
        pacer.reserve(float(cost[0]))
    assert pacer.mask(cost).tolist() == [True, False]
    pacer.owe(-(0.009 + 0.01))
    assert pacer.mask(cost).tolist() == [True, True]


def test_savings_that_buy_nothing_lapse() -> None:
    idle, binding = Pacer(0.02), Pacer(0.001)
    for pacer in (idle, binding):
        traffic(pacer, 500)
        pacer.owe(-10.0)
    assert idle.deficit == pytest.approx(-IDLE_CREDIT)
    assert binding.deficit == pytest.approx(-CREDIT)
    idle.owe(-1.0)
    assert idle.deficit == pytest.approx(-IDLE_CREDIT)


def test_a_debt_is_paid_back_within_its_horizon() -> None:
    pacer = Pacer(0.001)
    traffic(pacer, 1000)
    pacer.owe(0.03 - pacer.owed_usd)
    traffic(pacer, int(3 * HORIZON), seed=2)
    assert pacer.deficit < 5.0


def test_new_prices_are_in_force_at_the_next_decision() -> None:
    """The dearest arm at a hundredth of its price: all of it can be bought at once, and no longer when it is over."""
    cheap = COST * np.array([1.0, 1.0, 0.01])
    pacer = Pacer(0.0005)
    play(pacer, COST, 800)
    old = pacer.price_per_usd
    pacer.reprice(lambda key: cheap * float(str(key)))
    spent, arms = play(pacer, cheap, 200)
    assert arms[2] > 120
    pacer.reprice(lambda key: COST * float(str(key)))
    pacer.reserve(0.0005)
    assert pacer.price_per_usd > 0.3 * old
    spent, _ = play(pacer, COST, 400)
    assert spent / 400 == pytest.approx(0.0005, rel=0.1)


def play(pacer: Pacer, cost: np.ndarray, decisions: int) -> tuple[float, np.ndarray]:
    """(dollars, decisions by arm) of the best utility on random queries."""
    generator, arms, spent = np.random.default_rng(1), np.zeros(3), 0.0
    for _ in range(decisions):
        mean = np.array([0.5, 0.6, 0.7]) + generator.normal(0, 0.1, 3)
        utility = np.where(pacer.mask(cost), mean - pacer.price_per_usd * cost, -np.inf)
        arm = int(utility.argmax())
        pacer.observe(mean, cost, key=1.0)
        pacer.reserve(float(cost[arm]))
        arms[arm] += 1
        spent += float(cost[arm])
    return spent, arms


def test_decisions_without_a_key_keep_their_costs() -> None:
    pacer = Pacer(0.001)
    traffic(pacer, 300)
    before = pacer.price_per_usd
    pacer.reprice(lambda _key: COST * 100.0)
    traffic(pacer, 1, seed=3)
    assert pacer.price_per_usd == pytest.approx(before, rel=0.3)


def test_floors_spend_a_small_part_of_the_budget() -> None:
    pacer, wanted = Pacer(0.001), np.full(3, 0.02)
    floors = pacer.floors(wanted, COST)
    assert floors[0] == 0.02
    assert floors[1:] @ COST[1:] <= 0.03 * 0.001
    tight = Pacer(0.00010001).floors(wanted, COST)  # hardly more than the cheapest arm costs
    assert tight[1:] @ COST[1:] <= 1e-8 + 1e-15
    assert (Pacer(10.0).floors(wanted, COST) == wanted).all()


def test_a_new_account_keeps_what_kind_of_decisions_come() -> None:
    pacer = Pacer(0.0005)
    traffic(pacer, 600)
    price = pacer.price_per_usd
    pacer.open_account()
    assert (pacer.owed_usd, pacer.spent_usd, pacer.decisions) == (0.0, 0.0, 0)
    traffic(pacer, 1, seed=9)
    assert pacer.price_per_usd == pytest.approx(price, rel=0.5)
