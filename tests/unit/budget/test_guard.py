from __future__ import annotations

import numpy as np
import pytest

from banditd.budget.frontier import Mixture
from banditd.budget.guard import TRUSTED_UNTIL, Guard, Paired, mixture_vector
from banditd.core.types import Blend

ARMS = np.array([0, 1, 2])
COST = np.array([1.0, 3.0, 9.0])


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_blend_is_a_probability_vector_and_the_mixture_at_nought(share: float) -> None:
    contextual = np.array([0.2, 0.5, 0.3])
    mixture = mixture_vector(Mixture(0, 1, 0.25, 0.0, 0.0), ARMS, COST)
    played = Blend(share, mixture).over(contextual)
    assert played.sum() == pytest.approx(1.0)
    assert (played >= 0.0).all()
    if share == 0.0:
        assert played.tolist() == mixture.tolist()
    if share == 1.0:
        assert played.tolist() == contextual.tolist()
    if share > 0.0:
        assert Blend(share, mixture).own(played) == pytest.approx(contextual)


def test_the_mixture_keeps_to_eligible_arms() -> None:
    mixture = Mixture(1, 2, 0.4, 0.0, 0.0)
    assert mixture_vector(mixture, ARMS, COST).tolist() == [0.0, 0.4, 0.6]
    assert mixture_vector(mixture, ARMS[:2], COST[:2]).tolist() == [0.0, 1.0]
    assert mixture_vector(mixture, ARMS[:1], COST[:1]).tolist() == [1.0]  # neither: the cheapest
    assert mixture_vector(Mixture(1, 1, 1.0, 0.0, 0.0), ARMS, COST).tolist() == [0.0, 1.0, 0.0]


def test_the_difference_is_right_whatever_the_means_are() -> None:
    """Doubly robust: its expectation over the drawn arm is the true difference of priced rewards, mu cancels."""
    contextual, mixture = np.array([0.1, 0.2, 0.7]), np.array([0.5, 0.5, 0.0])
    blend, penalty = Blend(0.4, mixture), np.array([0.01, 0.02, 0.2])
    played = blend.over(contextual)
    truth = np.array([0.3, 0.6, 0.9])
    for wrong in (np.zeros(3), np.array([1.0, 0.0, 0.5]), truth):
        paired = Paired.of(blend, played, wrong, penalty)
        expected = sum(p * paired.difference(i, float(truth[i])) for i, p in enumerate(played))
        assert expected == pytest.approx(float((contextual - mixture) @ (truth - penalty)))


def test_it_is_an_alarm_while_contexts_lose_until_they_win() -> None:
    generator, guard = np.random.default_rng(0), Guard(3)
    for _ in range(int(TRUSTED_UNTIL) - 1):
        guard.learn(-1.0)
    assert not guard.alarm  # too early to say
    guard = Guard(3)
    for _ in range(500):
        guard.learn(generator.normal(-0.05, 0.1))
    assert guard.alarm
    assert guard.advantage[0] == pytest.approx(-0.05, abs=0.02)
    for _ in range(2000):
        guard.learn(generator.normal(0.05, 0.1))
    assert not guard.alarm


def test_chance_alone_is_seldom_an_alarm() -> None:
    generator, alarms = np.random.default_rng(1), []
    for _ in range(200):
        guard = Guard(1)
        for value in generator.normal(0.0, 0.1, 300):
            guard.learn(float(value))
        alarms.append(guard.alarm)
    assert np.mean(alarms) == pytest.approx(0.023, abs=0.03)


def test_the_mixture_is_that_of_recent_means() -> None:
    guard = Guard(3)
    assert guard.mixture(5.0) is None
    for _ in range(700):
        guard.observe(np.array([[0.2, 0.1, 0.9], COST]))
    for _ in range(500):  # another arm is best by now, and one is not eligible any more
        guard.observe(np.array([[0.2, 0.8, np.nan], COST]))
    best = guard.mixture(2.0)
    assert best is not None
    assert (best.first, best.second) == (0, 1)
    assert best.share == pytest.approx(0.5)
    assert best.reward == pytest.approx(0.5)
