from __future__ import annotations

import numpy as np
import pytest

from banditd.bandit.policies.quadrature import HEIGHT, contenders, win_probabilities, win_sums


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


def expected_where_each_wins(
    mean: np.ndarray, deviation: np.ndarray
) -> tuple[list[int], np.ndarray, np.ndarray, float]:
    """The m that can win; P(b wins) (m,), sum 1; E[value_a - mean_a; b wins], row b, column a, (m, m); E[max]."""
    among = contenders(mean, deviation)
    active, from_low, width, low = among
    *columns, own, wins = win_sums(among)
    excess = np.array(columns).T * HEIGHT * np.array(width)
    np.fill_diagonal(excess, own - np.array(from_low) * wins)
    return active, wins / wins.sum(), excess / wins.sum(), low + float(own.sum() / wins.sum())


@pytest.mark.parametrize(
    ("mean", "deviation"),
    [
        ([0.5, 0.48], [0.05, 0.1]),
        ([0.5, 0.52, 0.48, 0.45], [0.02, 0.05, 0.2, 0.1]),
        (list(np.linspace(0.4, 0.6, 10)), list(np.linspace(0.12, 0.05, 10))),
    ],
)
def test_conditional_means_agree_with_sampling(mean, deviation) -> None:
    mean, deviation = np.array(mean), np.array(deviation)
    active, probability, excess, maximum = expected_where_each_wins(mean, deviation)
    draws = np.random.default_rng(0).normal(mean, deviation, size=(400_000, mean.size))
    best = draws.argmax(axis=1)
    shares = np.bincount(best, minlength=mean.size) / best.size
    np.testing.assert_allclose(probability, shares[active], atol=0.01)
    assert maximum == pytest.approx(draws.max(axis=1).mean(), abs=0.01 * deviation.max())
    for row, chance, arm in zip(excess, probability, active, strict=True):
        if shares[arm] > 0.01:
            seen = (draws[best == arm] - mean).mean(axis=0)[active]
            np.testing.assert_allclose(row / chance, seen, atol=0.06 * deviation.max())


def test_what_the_winner_tells_averages_to_nothing() -> None:
    """The law of total expectation: sum_b P(b wins) E[value_a - mean_a | b wins] = 0."""
    mean, deviation = np.array([0.5, 0.49, 0.45, 0.4]), np.array([0.05, 0.08, 0.06, 0.1])
    excess = expected_where_each_wins(mean, deviation)[2]
    np.testing.assert_allclose(excess.sum(axis=0), 0.0, atol=0.003)
