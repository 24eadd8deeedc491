"""A share of the calls is held by their price, and they go where they gain most."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from banditd.budget.share import MOST, SharePacer
from banditd.core.types import FloatArray


def play(pacer: SharePacer, gains: FloatArray) -> FloatArray:
    """Call the strong arm, the second, where it gains more than its price: bool (n,), by decision."""
    called = np.zeros(gains.size, dtype=bool)
    for i, gain in enumerate(gains.tolist()):
        utility = np.array([0.5, 0.5 + gain])
        called[i] = gain > pacer.price
        pacer.observe(utility, 1, np.array([not called[i], called[i]], dtype=np.float64))
        pacer.count(called=bool(called[i]))
    return called


@given(share=st.floats(0.05, 0.9), seed=st.integers(0, 100), mean=st.floats(-0.02, 0.3), spread=st.floats(0.02, 0.3))
@settings(max_examples=25)
def test_at_most_the_share_is_called_and_what_gains_most(share: float, seed: int, mean: float, spread: float) -> None:
    gains = np.random.default_rng(seed).normal(mean, spread, 3000)
    called = play(SharePacer(share), gains)
    wanted = min(share, float((gains > 0.0).mean()))
    assert called.mean() == pytest.approx(wanted, abs=0.03)
    late = np.arange(gains.size) >= 1000
    hindsight = np.sort(gains[late])[::-1][: int(called[late].sum())].sum()
    assert gains[late & called].sum() >= 0.95 * hindsight


def test_a_threshold_follows_the_traffic() -> None:
    generator = np.random.default_rng(0)
    pacer = SharePacer(0.3)
    for mean in (0.1, 0.3, -0.05):
        called = play(pacer, generator.normal(mean, 0.1, 3000))
        assert called[1000:].mean() == pytest.approx(0.3, abs=0.04)


def test_another_share_is_held_from_then_on() -> None:
    generator = np.random.default_rng(0)
    pacer = SharePacer(0.5)
    play(pacer, generator.normal(0.1, 0.1, 2000))
    pacer.retarget(0.1)
    assert play(pacer, generator.normal(0.1, 0.1, 4000))[1000:].mean() == pytest.approx(0.1, abs=0.03)


def test_a_policy_that_does_not_weigh_utility_drives_no_price_beyond_all_gains() -> None:
    generator = np.random.default_rng(0)
    pacer = SharePacer(0.2)
    for _ in range(3000):
        pacer.observe(np.array([0.5, 0.6]), 1, np.array([0.5, 0.5]))
        pacer.count(called=bool(generator.random() < 0.5))
        assert 0.0 <= pacer.price <= MOST


def test_what_is_taken_back_was_never_called() -> None:
    gains = np.random.default_rng(1).normal(0.1, 0.1, 2000)
    one, other = SharePacer(0.3), SharePacer(0.3)
    play(one, gains)
    play(other, gains)
    for called in (True, False, True):
        other.count(called=called)
        other.take_back(called=called)
    assert other._pacer.owed_usd == pytest.approx(one._pacer.owed_usd)
