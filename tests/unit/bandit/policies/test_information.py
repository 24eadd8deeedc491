from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from banditd.bandit.policies import information, quadrature
from banditd.bandit.policies.information import STEP, UNIT, best_mixture, directed_probabilities, pulls
from banditd.bandit.policies.quadrature import COARSE, Grid, contenders

NOISE = 0.1
DRAWS = 300_000
FINE = Grid(6.0, 6_000, 300)

# Means, deviations, and by how much the grid in use may be out beyond sampling: E[max] in parts of the largest
# deviation, information in parts of the arm's own variance. Few nodes are worst where all arms are twins: theirs
# coincide, so that the union of them is no denser than one arm's.
BELIEFS = [
    ([0.5, 0.48], [0.05, 0.1], 0.005, 0.01),
    ([0.5, 0.5], [0.1, 0.1], 0.01, 0.01),
    ([0.6, 0.5, 0.3], [0.05, 0.1, 0.02], 0.005, 0.01),
    ([0.5, 0.52, 0.48, 0.45], [0.02, 0.05, 0.2, 0.1], 0.005, 0.02),
    ([0.6, 0.6, 0.6, 0.55], [0.05, 0.05, 0.05, 0.1], 0.02, 0.02),
    ([0.5] * 7, [0.2] * 7, 0.25, 0.02),
    (list(np.linspace(0.4, 0.6, 10)), list(np.linspace(0.12, 0.05, 10)), 0.01, 0.04),
    (list(np.linspace(0.4, 0.6, 20)), list(np.linspace(0.12, 0.05, 20)), 0.02, 0.06),
]


def directed(mean, deviation, noise: float = NOISE) -> np.ndarray:  # type: ignore[no-untyped-def]
    mean, deviation = np.array(mean, dtype=float), np.array(deviation, dtype=float)
    return probabilities(mean, deviation, np.full(mean.shape, noise))


def probabilities(mean: np.ndarray, deviation: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Of one query, whose arms all are allowed: (n,)."""
    everyone = np.ones((1, mean.size), dtype=bool)
    return directed_probabilities(mean[None, :], deviation[None, :], deviation[None, :] ** 2, noise, everyone)[0]


def pulls_of(
    mean: np.ndarray, deviation: np.ndarray, learnable: np.ndarray, grid: Grid = COARSE
) -> tuple[np.ndarray, np.ndarray]:
    """(regret, information) of each arm that can win in steps, (2, n), and which those are, (n,)."""
    among = contenders(mean[None, :], deviation[None, :], np.ones((1, mean.size), dtype=bool), grid)
    return pulls(among, learnable[None, :])[:, 0], among.able[0]


def sampled(mean: np.ndarray, deviation: np.ndarray) -> tuple[np.ndarray, np.ndarray, float, np.ndarray]:
    """Regret (n,) and Var(E[value_a | winner]) (n,) of drawn normals, and by how much each may be out by chance.

    Five standard errors. Those of information by the delta method: the derivative of sum_b P_b c_b^2 with respect to
    one draw that b wins is 2 c_b (value - mean) - c_b^2. Besides, what the c_b are out by, squared, makes information
    too large by less than deviation^2 / DRAWS for each winner.
    """
    draws = np.random.default_rng(0).normal(mean, deviation, size=(DRAWS, mean.size))
    best, highest, excess = draws.argmax(axis=1), draws.max(axis=1), draws - mean
    wins = np.bincount(best, minlength=mean.size)
    given_winner = np.stack([excess[best == b].sum(axis=0) for b in range(mean.size)])
    given_winner /= np.maximum(wins, 1)[:, None]
    told_by = given_winner[best]
    chance_of_information = 5.0 * (2.0 * told_by * excess - told_by**2).std(axis=0) / DRAWS**0.5
    return (
        highest.mean() - mean,
        wins @ given_winner**2 / DRAWS,
        5.0 * float(highest.std()) / DRAWS**0.5,
        chance_of_information + mean.size * deviation**2 / DRAWS,
    )


@pytest.mark.parametrize("fine", [True, False])
@pytest.mark.parametrize(("mean", "deviation", "regret_out", "information_out"), BELIEFS)
def test_regret_and_information_of_a_pull_agree_with_sampling(
    mean, deviation, regret_out: float, information_out: float, fine: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a fine grid to within what sampling is out by; on the one in use, to within what its few nodes add."""
    grid = COARSE
    if fine:
        grid = FINE
        monkeypatch.setattr(information, "COARSE", FINE)
        monkeypatch.setattr(quadrature, "_MOST_NODES", 10_000)
        regret_out = information_out = 0.0
    quadrature._nodes.cache_clear()
    mean, deviation = np.array(mean), np.array(deviation)
    learnable = np.linspace(0.9, 0.2, mean.size)
    regret, told, regret_chance, information_chance = sampled(mean, deviation)
    steps, active = pulls_of(mean, deviation, learnable, grid)
    quadrature._nodes.cache_clear()
    regret_within = regret_chance + regret_out * deviation.max()
    information_within = learnable * (information_chance + information_out * deviation**2)
    assert (np.abs(steps[0] / STEP - regret)[active] < regret_within).all()
    off = np.abs(steps[1] / (STEP * UNIT) - learnable * told)
    assert (off < information_within)[active].all()


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


@pytest.mark.parametrize("n", [3, 6, 12, 20])
def test_twins_have_the_same_probability_whatever_rounding_makes_of_them(n: int) -> None:
    generator = np.random.default_rng(n)
    for _ in range(300):
        mean, deviation = generator.normal(0.6, 0.05, n), generator.uniform(0.001, 0.1, n)
        noise = generator.uniform(0.02, 0.2, n)
        one, two = generator.choice(n, 2, replace=False)
        for values in (mean, deviation, noise):
            values[two] = values[one]
        p = probabilities(mean, deviation, noise)
        assert p[one] == pytest.approx(p[two], abs=1e-6)


def test_one_certain_best_arm_is_taken_and_a_hopeless_one_never() -> None:
    np.testing.assert_array_equal(directed([0.9, 0.5, 0.1], [0.0, 0.0, 0.0]), [1.0, 0.0, 0.0])
    assert directed([0.9, 0.88, 0.1], [0.05, 0.05, 0.05])[2] == 0.0


def test_of_two_arms_alike_but_for_what_they_tell_the_one_that_tells_more_is_tried_more() -> None:
    mean, deviation = np.array([0.6, 0.5, 0.5]), np.array([0.05, 0.1, 0.1])
    noise = np.array([0.1, 0.02, 0.2])
    probability = probabilities(mean, deviation, noise)
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
        steps = np.array([STEP * regret, STEP * UNIT * information])
        shares = best_mixture(steps[:, None, :], np.ones((1, 2), dtype=bool))[0]
        assert shares[0] == pytest.approx(expected, abs=1e-3)
