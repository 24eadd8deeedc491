"""Identities of the estimators, on logs whose propensities are exact."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from banditd.core.errors import InvalidInputError
from banditd.ope.estimators import clipped_ips, diagnose, importance_weights, ips, snips


def log_of(seed: int, n: int = 4000, k: int = 4):  # type: ignore[no-untyped-def]
    """(logged vectors, arms drawn, the reward of every arm)."""
    generator = np.random.default_rng(seed)
    logged = 0.2 / k + 0.8 * generator.dirichlet(np.ones(k), size=n)
    uniform = generator.random(n)
    chosen = np.minimum((logged.cumsum(axis=1) <= uniform[:, None]).sum(axis=1), k - 1)
    scores = generator.random((n, k)) < np.linspace(0.2, 0.8, k)
    return logged, chosen, scores.astype(np.float64)


def seen(scores: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    rewards: np.ndarray = scores[np.arange(chosen.size), chosen]
    return rewards


@given(st.integers(0, 50), st.floats(0, 1))
def test_constant_rewards_give_the_constant(seed: int, constant: float) -> None:
    logged, chosen, _ = log_of(seed, n=50)
    found = snips(importance_weights(logged, chosen, np.full(4, 0.25)), np.full(50, constant))
    assert found.value == pytest.approx(constant)
    assert found.standard_error == pytest.approx(0.0, abs=1e-9)


def test_on_policy_every_estimate_is_the_mean() -> None:
    logged, chosen, scores = log_of(1)
    reward = seen(scores, chosen)
    weight = importance_weights(logged, chosen, logged)
    np.testing.assert_allclose(weight, 1.0)
    error = reward.std(ddof=1) / math.sqrt(reward.size)
    for found in (ips(weight, reward), snips(weight, reward), clipped_ips(weight, reward, 1.0)):
        assert (found.value, found.standard_error) == pytest.approx((reward.mean(), error))
    assert diagnose(weight).effective == pytest.approx(reward.size)


def test_under_uniform_logging_snips_of_a_fixed_arm_is_that_arms_mean() -> None:
    generator = np.random.default_rng(2)
    _, _, scores = log_of(2)
    chosen = generator.integers(4, size=4000)
    logged = np.full((4000, 4), 0.25)
    for arm in range(4):
        weight = importance_weights(logged, chosen, np.eye(4)[arm])
        found = snips(weight, seen(scores, chosen))
        assert found.value == pytest.approx(scores[chosen == arm, arm].mean())
        assert diagnose(weight).effective == pytest.approx((chosen == arm).sum())
        assert abs(found.value - scores[:, arm].mean()) <= 3 * found.standard_error


def test_errors_are_true_to_size_and_ips_is_unbiased() -> None:
    misses = {"ips": [], "snips": []}  # type: dict[str, list[float]]
    for seed in range(200):
        logged, chosen, scores = log_of(seed, n=6000)
        weight, reward = importance_weights(logged, chosen, np.eye(4)[3]), seen(scores, chosen)
        for name, estimate in (("ips", ips), ("snips", snips)):
            found = estimate(weight, reward)
            misses[name].append((found.value - 0.8) / found.standard_error)
    for name, values in misses.items():
        assert abs(np.mean(values)) < 4 / math.sqrt(200), name
        assert 0.85 < np.std(values) < 1.15, name


@given(st.integers(0, 20), st.floats(0.01, 1))
def test_estimates_scale_with_the_rewards(seed: int, factor: float) -> None:
    logged, chosen, scores = log_of(seed, n=60)
    weight, reward = importance_weights(logged, chosen, np.eye(4)[1]), seen(scores, chosen)
    for estimate in (ips, snips, lambda w, r: clipped_ips(w, r, 2.0)):
        if weight.sum() == 0.0:
            continue
        whole, part = estimate(weight, reward), estimate(weight, factor * reward)
        assert part.value == pytest.approx(factor * whole.value)
        assert part.standard_error == pytest.approx(factor * whole.standard_error)


def test_clipping_only_takes_away_and_never_does_above_the_largest_weight() -> None:
    logged, chosen, scores = log_of(5)
    weight, reward = importance_weights(logged, chosen, np.eye(4)[2]), seen(scores, chosen)
    values = [clipped_ips(weight, reward, largest).value for largest in (0.5, 2.0, 8.0, weight.max())]
    assert values == sorted(values)
    assert values[0] < values[-1] == ips(weight, reward).value


def test_a_wanted_arm_without_propensity_is_refused() -> None:
    logged, chosen = np.array([[0.5, 0.5], [1.0, 0.0]]), np.array([1, 0])
    with pytest.raises(InvalidInputError, match="In 1 of 2 rounds"):
        importance_weights(logged, chosen, np.array([0.0, 1.0]))
    importance_weights(logged, chosen, np.array([1.0, 0.0]))
    with pytest.raises(InvalidInputError, match="could not have drawn"):
        importance_weights(logged, np.array([1, 1]), np.array([1.0, 0.0]))
    with pytest.raises(InvalidInputError, match="without rounds"):
        importance_weights(np.zeros((0, 2)), np.zeros(0, dtype=np.intp), np.array([1.0, 0.0]))
    with pytest.raises(InvalidInputError, match="all weights are 0"):
        snips(np.zeros(3), np.ones(3))


def test_few_effective_rounds_or_one_heavy_one_are_refused_a_verdict() -> None:
    assert diagnose(np.ones(200)).objection is None
    assert "effective sample size 199" in (diagnose(np.ones(199)).objection or "")
    heavy = diagnose(np.append(np.ones(5000), 600.0))
    assert heavy.effective < 200
    assert heavy.largest_share == pytest.approx(600 / 5600)
    assert "one round has 11%" in (type(heavy)(250.0, 0.107).objection or "")
    assert diagnose(np.zeros(10)).objection
