"""Objectives of a request: profiles and the least cost above a quality floor."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from banditd.core.errors import InvalidInputError
from banditd.core.types import Query
from banditd.deciding.objectives import Profile, least_cost_above, with_profile

MEAN, COST = np.array([0.6, 0.8, 0.9]), np.array([0.001, 0.002, 0.02])
SURE, UNSURE = np.full(3, 0.01), np.full(3, 0.2)


def choose(mean=MEAN, deviation=SURE, cost=COST, floor=0.7, confidence=0.9, exploration_floor=0.0):
    """Of one query: (index of the best, probabilities and indices of what is drawn from), or None."""
    found = least_cost_above(
        mean[None, :],
        deviation[None, :],
        cost[None, :],
        np.ones((1, mean.size), dtype=bool),
        floor=np.array([floor]),
        confidence=np.array([confidence]),
        exploration_floor=exploration_floor,
    )
    if not found.clears[0]:
        return None
    positions = np.flatnonzero(found.arms[0])
    assert not found.probability[0][~found.arms[0]].any()
    return SimpleNamespace(best=int(found.best[0]), probability=found.probability[0, positions], positions=positions)


def test_the_cheapest_arm_that_clears_the_floor_is_chosen():
    choice = choose()
    assert (choice.best, choice.probability.tolist(), choice.positions.tolist()) == (1, [1.0], [1])


def test_confidence_counts_against_an_arm_that_is_not_known():
    deviation = np.array([0.01, 0.2, 0.01])
    assert choose(deviation=deviation).best == 2
    assert choose(deviation=deviation, confidence=0.5).best == 1


def test_nothing_clears_the_floor_then_the_policy_is_asked():
    assert choose(floor=0.95) is None
    assert choose(deviation=UNSURE) is None


def test_cheaper_arms_that_may_yet_clear_the_floor_get_the_exploration_floor():
    hopeful = choose(deviation=np.array([0.2, 0.01, 0.01]), exploration_floor=0.02)
    assert (hopeful.positions.tolist(), hopeful.best) == ([0, 1], 1)
    assert hopeful.probability == pytest.approx([0.01, 0.99])
    # An arm that is surely below the floor is not played at all.
    assert choose(exploration_floor=0.02).positions.tolist() == [1]


@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 0.5), st.floats(0, 1)), min_size=1, max_size=8),
    st.floats(0, 1),
    st.floats(0.5, 0.999),
    st.floats(0, 0.3),
)
def test_the_choice_is_a_distribution_over_arms_that_are_cheap_enough(arms, floor, confidence, exploration):
    mean, deviation, cost = map(np.array, zip(*arms, strict=True))
    choice = choose(mean, deviation, cost, floor, confidence, exploration)
    if choice is None:
        return
    assert choice.probability.sum() == pytest.approx(1.0)
    assert (choice.probability >= 0.0).all()
    assert (cost[choice.positions] <= cost[choice.best]).all()
    assert mean[choice.best] >= floor
    assert choice.probability[choice.positions.tolist().index(choice.best)] >= 1.0 - exploration - 1e-12


def test_a_profile_fills_in_what_the_query_leaves_open():
    profiles = {"economy": Profile(cost_weight=0.3, max_cost_usd=0.01)}
    filled = with_profile(Query(profile="economy", max_cost_usd=0.5), profiles)
    assert (filled.cost_weight, filled.max_cost_usd) == (0.3, 0.5)
    assert with_profile(Query(), profiles) == Query()


def test_an_unknown_profile_is_an_error_that_names_the_known_ones():
    with pytest.raises(InvalidInputError, match="economy"):
        with_profile(Query(profile="cheap"), {"economy": Profile()})
