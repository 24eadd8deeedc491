from __future__ import annotations

import numpy as np
import pytest

from banditd.bandit.policies.quadrature import win_probabilities as many_at_once


def win_probabilities(mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    return many_at_once(mean[None, :], deviation[None, :], np.ones((1, mean.size), dtype=bool))[0]


def sampled(mean: np.ndarray, deviation: np.ndarray, n: int = 400_000) -> np.ndarray:
    draws = np.random.default_rng(0).normal(mean, deviation, size=(n, mean.size))
    return np.bincount(draws.argmax(axis=1), minlength=mean.size) / n


@pytest.mark.parametrize(
    ("mean", "deviation"),
    [
        ([0.5, 0.5, 0.5], [0.1, 0.1, 0.1]),
        ([0.5, 0.52, 0.48, 0.3], [0.001, 0.05, 0.2, 0.3]),
        ([0.9, 0.89, 0.88, 0.87, 0.5, 0.5, 0.5, 0.4], [0.01, 0.02, 0.03, 0.01, 0.3, 0.2, 0.25, 0.2]),
        (list(np.linspace(0.2, 0.8, 16)), [0.15] * 16),
        ([0.7, 0.6], [0.1, 0.2]),
        (list(np.linspace(0.4, 0.7, 60)), list(np.linspace(0.02, 0.2, 60))),
    ],
)
def test_it_agrees_with_sampling(mean, deviation) -> None:
    mean, deviation = np.array(mean), np.array(deviation)
    np.testing.assert_allclose(win_probabilities(mean, deviation), sampled(mean, deviation), atol=0.008)


def test_equal_arms_share_equally() -> None:
    np.testing.assert_allclose(win_probabilities(np.full(9, 0.4), np.full(9, 0.2)), np.full(9, 1 / 9), atol=1e-9)


def test_without_uncertainty_the_best_wins_and_ties_share() -> None:
    np.testing.assert_array_equal(win_probabilities(np.array([0.1, 0.3, 0.3]), np.zeros(3)), [0, 0.5, 0.5])
    np.testing.assert_array_equal(win_probabilities(np.array([0.1, 0.3]), np.zeros(2)), [0, 1])


def test_a_hopeless_arm_gets_exactly_nothing() -> None:
    probability = win_probabilities(np.array([0.9, 0.89, 0.1, 0.5]), np.array([0.01, 0.01, 0.01, 0.01]))
    assert probability[2] == probability[3] == 0.0


def test_one_arm_wins_surely() -> None:
    np.testing.assert_array_equal(win_probabilities(np.array([0.2]), np.array([0.1])), [1.0])


def test_one_certain_arm_among_uncertain_ones() -> None:
    mean, deviation = np.array([0.5, 0.45, 0.4]), np.array([0.0, 0.1, 0.2])
    np.testing.assert_allclose(win_probabilities(mean, deviation), sampled(mean, deviation), atol=0.01)


def test_masked_arms_are_as_if_they_were_not_there() -> None:
    rng = np.random.default_rng(4)
    for n in (2, 3, 5, 12, 30):
        mean, deviation = rng.normal(0.5, 0.1, (20, n)), rng.uniform(0.0, 0.2, (20, n))
        allowed = rng.random((20, n)) < 0.6
        allowed[np.arange(20), rng.integers(n, size=20)] = True
        many = many_at_once(mean, deviation, allowed)
        for row in range(20):
            alone = win_probabilities(mean[row][allowed[row]], deviation[row][allowed[row]])
            np.testing.assert_allclose(many[row][allowed[row]], alone, atol=1e-12)
            assert not many[row][~allowed[row]].any()
