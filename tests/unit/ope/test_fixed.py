"""Doubly robust terms of fixed arms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from banditd.ope.fixed import FixedArmSums, MeanEstimate, fixed_arm_terms


@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0.01, 1)), min_size=2, max_size=6),
)
def test_the_estimate_of_every_arm_is_unbiased_whatever_was_predicted(arms):
    """Over the draw, the expectation of phi is the arm's true reward."""
    truth, predicted, weight = map(np.array, zip(*arms, strict=True))
    probability = weight / weight.sum()
    for arm in range(len(arms)):
        expected = sum(
            p * fixed_arm_terms(predicted[arm], truth[drawn], p if drawn == arm else None)[1]
            for drawn, p in enumerate(probability)
        )
        assert expected == pytest.approx(truth[arm], abs=1e-9)


def logged(n: int, seed: int) -> tuple[FixedArmSums, float, float]:
    """Arm 0 earns .5, arm 1 earns .7; arm 1 is drawn in a fifth of the decisions; predictions are poor."""
    rng = np.random.default_rng(seed)
    sums = np.zeros(7)
    earned = 0.0
    for _ in range(n):
        drawn = int(rng.random() < 0.2)
        reward = float(rng.random() < (0.5, 0.7)[drawn])
        earned += reward
        sums += fixed_arm_terms(0.3, reward, 0.2 if drawn else None)
    return FixedArmSums(int(sums[0]), *sums[1:]), earned / n, n


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    held = gained = 0
    for seed in range(200):
        sums, _, _ = logged(1500, seed)
        low, high = sums.reward().interval()
        held += low <= 0.7 <= high
        low, high = sums.gain().interval()
        gained += low <= 0.7 - (0.8 * 0.5 + 0.2 * 0.7) <= high
    assert held >= 182
    assert gained >= 182


def test_few_decisions_that_drew_the_arm_are_no_evidence():
    few = FixedArmSums(10_000, 1, 1, 1, 1, weight=5_000.0, weight_square=5_000.0 * 200)
    assert "not enough data" in few.objection
    assert logged(2_000, 0)[0].objection is None
    assert FixedArmSums().objection is not None
    assert FixedArmSums().reward() is None


def test_a_single_decision_has_no_error_bound():
    assert MeanEstimate.of(1, 0.5, 0.25).error == float("inf")
