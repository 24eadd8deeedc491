"""How often an answer would win at equal length: what length bought is taken off, what it did not buy stays."""

from __future__ import annotations

import numpy as np
import pytest

from banditd.core.types import FloatArray
from banditd.ope.equal_length import FEWEST_PAIRS, at_equal_length


def pairs(n: int, *, theta: float, slope: float, longer: float, seed: int = 0) -> tuple[FloatArray, ...]:
    """Comparisons of answers of which the first is ``exp(longer)`` times as long in the middle."""
    generator = np.random.default_rng(seed)
    log_ratio = generator.normal(longer, 0.5, n)
    wins = generator.random(n) < 1.0 / (1.0 + np.exp(-theta - slope * np.tanh(log_ratio)))
    return wins.astype(float), 800.0 * np.exp(log_ratio), np.full(n, 800.0)


def test_what_only_length_bought_is_taken_off() -> None:
    found = at_equal_length(*pairs(2000, theta=0.0, slope=1.5, longer=0.6))
    assert found is not None
    assert found.raw > 0.62
    assert found.low < 0.5 < found.high
    assert found.rate == pytest.approx(0.5, abs=0.05)
    assert found.typical_ratio == pytest.approx(np.exp(0.6), rel=0.05)


def test_what_length_did_not_buy_stays() -> None:
    found = at_equal_length(*pairs(2000, theta=0.85, slope=0.0, longer=0.6))
    assert found is not None
    assert found.rate == pytest.approx(0.70, abs=0.05)
    same = at_equal_length(*pairs(500, theta=0.85, slope=1.5, longer=0.0))
    assert same is not None
    assert same.rate == pytest.approx(same.raw, abs=0.03)


def test_who_is_first_changes_nothing() -> None:
    preferred, length, other = pairs(100, theta=-1.0, slope=1.0, longer=0.4)
    one, swapped = at_equal_length(preferred, length, other), at_equal_length(1.0 - preferred, other, length)
    assert one is not None
    assert swapped is not None
    assert (swapped.rate, swapped.low) == (pytest.approx(1.0 - one.rate), pytest.approx(1.0 - one.high))


def test_where_no_pair_is_near_equal_length_the_interval_says_so() -> None:
    near = at_equal_length(*pairs(90, theta=0.0, slope=0.0, longer=0.0))
    far = at_equal_length(*pairs(90, theta=0.0, slope=0.0, longer=2.5))
    assert near is not None
    assert far is not None
    assert far.high - far.low > 2.0 * (near.high - near.low)


def test_the_interval_holds_the_truth() -> None:
    found = [at_equal_length(*pairs(60, theta=-1.5, slope=1.5, longer=0.5, seed=seed)) for seed in range(150)]
    truth = 1.0 / (1.0 + np.exp(1.5))
    assert np.mean([one is not None and one.low <= truth <= one.high for one in found]) >= 0.93


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_one_sided_and_empty_answers_are_no_trouble(value: float) -> None:
    n = FEWEST_PAIRS
    zeros = np.zeros(n)
    assert at_equal_length(np.full(n - 1, value), zeros[1:], zeros[1:]) is None
    found = at_equal_length(np.full(n, value), zeros, np.full(n, 1e9))
    assert found is not None
    assert 0.0 <= found.low < found.rate < found.high <= 1.0
