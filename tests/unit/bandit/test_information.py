from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from banditd.bandit.information import _mixture, directed_probabilities
from banditd.bandit.quadrature import win_expectations

NOISE = 0.1


def directed(mean, deviation, noise: float = NOISE) -> np.ndarray:  # type: ignore[no-untyped-def]
    mean, deviation = np.array(mean, dtype=float), np.array(deviation, dtype=float)
    return directed_probabilities(mean, deviation, deviation**2, np.full(mean.shape, noise))


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
    won = win_expectations(mean, deviation)
    draws = np.random.default_rng(0).normal(mean, deviation, size=(400_000, mean.size))
    best = draws.argmax(axis=1)
    shares = np.bincount(best, minlength=mean.size) / best.size
    np.testing.assert_allclose(won.probability, shares[won.active], atol=0.01)
    assert won.maximum == pytest.approx(draws.max(axis=1).mean(), abs=0.01 * deviation.max())
    for row, arm in zip(won.excess, won.active, strict=True):
        if shares[arm] > 0.01:
            seen = (draws[best == arm] - mean).mean(axis=0)[won.active]
            np.testing.assert_allclose(row, seen, atol=0.06 * deviation.max())


def test_what_the_winner_tells_averages_to_nothing() -> None:
    """The law of total expectation: sum_b P(b wins) E[value_a - mean_a | b wins] = 0."""
    won = win_expectations(np.array([0.5, 0.49, 0.45, 0.4]), np.array([0.05, 0.08, 0.06, 0.1]))
    np.testing.assert_allclose(won.probability @ won.excess, 0.0, atol=0.003)


@given(
    st.lists(st.tuples(st.floats(-1, 1), st.floats(0, 1)), min_size=1, max_size=12),
    st.floats(1e-4, 0.3),
)
def test_it_is_a_probability_vector_for_any_beliefs(beliefs, noise: float) -> None:
    probability = directed([m for m, _ in beliefs], [d for _, d in beliefs], noise)
    assert np.isfinite(probability).all()
    assert (probability >= 0.0).all()
    assert probability.sum() == pytest.approx(1.0)


def test_arms_that_cannot_be_told_apart_are_treated_alike() -> None:
    np.testing.assert_allclose(directed([0.4] * 7, [0.2] * 7), np.full(7, 1 / 7), atol=1e-9)


@pytest.mark.parametrize("n", [3, 6, 12, 20])  # in plain numbers, and by arrays
def test_twins_have_the_same_probability_whatever_rounding_makes_of_them(n: int) -> None:
    generator = np.random.default_rng(n)
    for _ in range(300):
        mean, deviation = generator.normal(0.6, 0.05, n), generator.uniform(0.001, 0.1, n)
        noise = generator.uniform(0.02, 0.2, n)
        one, two = generator.choice(n, 2, replace=False)
        for values in (mean, deviation, noise):
            values[two] = values[one]
        p = directed_probabilities(mean, deviation, deviation**2, noise)
        assert p[one] == pytest.approx(p[two], abs=1e-6)


def test_one_certain_best_arm_is_taken_and_a_hopeless_one_never() -> None:
    np.testing.assert_array_equal(directed([0.9, 0.5, 0.1], [0.0, 0.0, 0.0]), [1.0, 0.0, 0.0])
    assert directed([0.9, 0.88, 0.1], [0.05, 0.05, 0.05])[2] == 0.0


def test_of_two_arms_alike_but_for_what_they_tell_the_one_that_tells_more_is_tried_more() -> None:
    mean, deviation = np.array([0.6, 0.5, 0.5]), np.array([0.05, 0.1, 0.1])
    noise = np.array([0.1, 0.02, 0.2])
    probability = directed_probabilities(mean, deviation, deviation**2, noise)
    assert probability[1] > probability[2]


def test_a_dearer_try_is_made_less_often() -> None:
    near = directed([0.6, 0.55, 0.3], [0.02, 0.1, 0.02])[1]
    far = directed([0.6, 0.40, 0.3], [0.02, 0.1, 0.02])[1]
    assert near > far


def test_the_best_pair_is_the_best_that_a_fine_search_finds() -> None:
    generator = np.random.default_rng(3)
    for _ in range(50):
        regret, information = generator.uniform(0.01, 0.2, 2), generator.uniform(1e-5, 1e-2, 2)
        share = np.linspace(0.0, 1.0, 100_001)
        ratio = (share * regret[0] + (1 - share) * regret[1]) ** 2 / (
            share * information[0] + (1 - share) * information[1]
        )
        wanted = share[ratio.argmin()]
        # Both orders of the pair are the same mixture; the two pure arms are mixed in by how much worse they are.
        pure = regret**2 / information
        weight = np.exp((1.0 - np.append(pure, [ratio.min()] * 2) / min(ratio.min(), pure.min())) / 0.5)
        expected = (weight[0] + (weight[2] + weight[3]) * wanted) / weight.sum()
        assert _mixture(1e12 * regret, 1e16 * information)[0] == pytest.approx(expected, abs=1e-3)
