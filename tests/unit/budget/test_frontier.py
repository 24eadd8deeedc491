from __future__ import annotations

import numpy as np
import pytest

from banditd.budget.frontier import fixed_mixture_at_cost

REWARD = np.array([0.5, 0.55, 0.9])
COST = np.array([1.0, 2.0, 5.0])


def test_between_two_arms_it_mixes_along_the_upper_hull() -> None:
    mixture = fixed_mixture_at_cost(REWARD, COST, 3.0)
    assert (mixture.first, mixture.second) == (0, 2)  # arm 1 lies below the line
    assert mixture.share == pytest.approx(0.5)
    assert mixture.reward == pytest.approx(0.7)
    assert mixture.cost_usd == pytest.approx(3.0)


def test_with_money_to_spare_it_is_the_best_arm() -> None:
    mixture = fixed_mixture_at_cost(REWARD, COST, 100.0)
    assert (mixture.first, mixture.reward, mixture.cost_usd) == (2, 0.9, 5.0)


def test_below_the_cheapest_arm_it_is_the_cheapest() -> None:
    mixture = fixed_mixture_at_cost(REWARD, COST, 0.1)
    assert (mixture.first, mixture.cost_usd) == (0, 1.0)


def test_a_cheap_arm_that_is_the_best_needs_no_mixing() -> None:
    assert fixed_mixture_at_cost(np.array([0.9, 0.5]), np.array([1.0, 5.0]), 2.0).share == 1.0


def test_it_beats_every_mix_on_a_grid() -> None:
    generator = np.random.default_rng(0)
    for _ in range(20):
        reward, cost = generator.random(4), generator.random(4)
        budget = float(generator.uniform(cost.min(), cost.max()))
        best = fixed_mixture_at_cost(reward, cost, budget).reward
        mixes = generator.dirichlet(np.full(4, 0.3), size=3000)
        affordable = mixes[mixes @ cost <= budget]
        assert best >= (affordable @ reward).max() - 1e-12
