"""Abilities and difficulties: what is recovered, how often the intervals hold it, what has no data behind it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from banditd.ope.item_response import Cells, ItemResponse, Z, fit_item_response

EVEN = np.ones(12)


def logistic(logit: Any) -> Any:
    return 1.0 / (1.0 + np.exp(-logit))


def drawn(
    rng: np.random.Generator, probability: Any, rewards: Any, *, fractional: bool = False
) -> tuple[Cells, np.ndarray]:
    """Rewards of that mean: zeros and ones, or fractions of a beta distribution."""
    mean, variance = np.zeros((2, *probability.shape))
    for cell in np.argwhere(rewards > 0):
        at, count = tuple(cell), int(rewards[tuple(cell)])
        p = probability[at]
        values = rng.beta(4 * p, 4 * (1 - p), count) if fractional else (rng.random(count) < p) * 1.0
        mean[at], variance[at] = values.mean(), values.var()
    return Cells(rewards.astype(float), mean, variance), mean


def exact(ability: Any, difficulty: Any, rewards: float) -> Cells:
    """Cells without chance: every mean is what the model says."""
    p = logistic(np.asarray(ability)[:, None] - np.asarray(difficulty))
    return Cells(np.full(p.shape, rewards), p, p * (1 - p))


def inside(found: Any, error: Any, truth: Any) -> Any:
    return np.abs(found - truth) <= Z * error


def test_abilities_and_difficulties_are_recovered() -> None:
    ability, difficulty = np.array([-0.5, 0.2, 1.5]), np.array([-2.0, -0.5, 0.5, 2.0])
    found = fit_item_response(exact(ability, difficulty, 1e6), np.ones(4))
    np.testing.assert_allclose(found.ability, ability, atol=1e-4)
    np.testing.assert_allclose(found.difficulty, difficulty, atol=1e-4)
    assert found.misfit is not None
    assert found.misfit.ratio < 1e-4


def test_only_differences_show_so_a_constant_on_both_changes_nothing() -> None:
    ability, difficulty = np.array([-0.5, 0.2, 1.5]), np.array([-2.0, 0.0, 2.0])
    found, moved = (fit_item_response(exact(ability + k, difficulty + k, 40.0), np.ones(3)) for k in (0.0, 3.0))
    np.testing.assert_allclose(moved.ability, found.ability, atol=1e-8)
    np.testing.assert_allclose(moved.difficulty, found.difficulty, atol=1e-8)
    np.testing.assert_allclose(moved.ability_error, found.ability_error, rtol=1e-6)


@pytest.mark.parametrize(("most", "fractional"), [(6, False), (60, False), (60, True)])
def test_intervals_hold_the_truth_nineteen_times_in_twenty(most: int, *, fractional: bool) -> None:
    rng = np.random.default_rng(most + fractional)
    held: list[float] = []
    for _ in range(60):
        ability, difficulty = rng.normal(0.5, 0.7, 5), rng.normal(0.0, 1.0, 12)
        difficulty -= difficulty.mean()
        p = logistic(ability[:, None] - difficulty)
        cells, _ = drawn(rng, p, rng.integers(0, most + 1, p.shape), fractional=fractional)
        traffic = rng.random(12) + 0.1
        found = fit_item_response(cells, traffic)
        held += inside(found.ability, found.ability_error, ability).tolist()
        held += inside(found.difficulty, found.difficulty_error, difficulty).tolist()
        levels = [*found.arm_levels, *found.cluster_levels]
        truths = [*(p @ traffic / traffic.sum()), *p.mean(axis=0)]
        held += [level is not None and level.low <= t <= level.high for level, t in zip(levels, truths, strict=True)]
    assert 0.93 < np.mean(held) < 0.985  # of 2,040


def test_an_arm_that_was_given_difficult_queries_is_not_taken_for_a_poor_one() -> None:
    rewards = np.array([[10.0, 400.0], [400.0, 10.0]])
    p = logistic(np.array([[1.0], [0.0]]) - np.array([-1.5, 1.5]))
    cells = Cells(rewards, p, p * (1 - p))
    seen = (rewards * p).sum(axis=1) / rewards.sum(axis=1)
    found = fit_item_response(cells, np.ones(2))
    assert seen[0] < seen[1]
    assert found.ability[0] > found.ability[1]
    assert found.arm_levels[0] is not None
    assert found.arm_levels[1] is not None
    assert found.arm_levels[0].mean > found.arm_levels[1].mean


def test_misfit_tells_that_arms_are_good_at_different_things() -> None:
    rng = np.random.default_rng(0)
    p = logistic(np.array([[2.0, -2.0], [-2.0, 2.0]]))
    own, _ = drawn(rng, p, np.full((2, 2), 200.0))
    alike, _ = drawn(rng, logistic(np.array([[1.0, 0.0], [0.0, -1.0]])), np.full((2, 2), 200.0))
    apart, together = fit_item_response(own, np.ones(2)), fit_item_response(alike, np.ones(2))
    assert apart.misfit is not None
    assert together.misfit is not None
    assert apart.misfit.p_value < 1e-6
    assert together.misfit.p_value > 0.01
    assert apart.ability_error.max() > 2.0 * together.ability_error.max()


# ---------------------------------------------------------------- little data


def _nothing(found: ItemResponse) -> bool:
    return not np.isfinite([*found.ability, *found.difficulty, *found.ability_error]).any() and found.misfit is None


@pytest.mark.parametrize("shape", [(0, 0), (2, 3)])
def test_without_a_reward_nothing_is_said(shape: tuple[int, int]) -> None:
    found = fit_item_response(Cells(*np.zeros((3, *shape))), np.ones(shape[1]))
    assert _nothing(found)
    assert found.arm_levels == (None,) * shape[0]
    assert found.cluster_levels == (None,) * shape[1]


def test_one_arm_tells_difficulties_and_its_own_level() -> None:
    found = fit_item_response(exact([0.7], [-1.0, 1.0], 1e6), np.array([3.0, 1.0]))
    np.testing.assert_allclose([*found.ability, *found.difficulty], [0.7, -1.0, 1.0], atol=1e-4)
    assert found.misfit is None
    assert found.arm_levels[0] is not None
    assert found.arm_levels[0].mean == pytest.approx(0.75 * logistic(1.7) + 0.25 * logistic(-0.3), abs=1e-4)


def test_one_cluster_has_the_difficulty_zero_by_definition() -> None:
    found = fit_item_response(exact([-1.0, 1.0], [0.0], 1e6), np.ones(1))
    np.testing.assert_allclose([*found.ability, *found.difficulty], [-1.0, 1.0, 0.0], atol=1e-4)
    assert found.difficulty_error[0] == 0.0


def test_arms_that_no_cluster_links_are_not_compared() -> None:
    rewards = np.array([[9.0, 9.0, 0.0], [9.0, 0.0, 0.0], [0.0, 0.0, 5.0], [0.0, 0.0, 0.0]])
    found = fit_item_response(Cells(rewards, np.full(rewards.shape, 0.6), np.full(rewards.shape, 0.24)), np.ones(3))
    assert np.isfinite(found.ability).tolist() == [True, True, False, False]
    assert np.isfinite(found.difficulty).tolist() == [True, True, False]
    assert found.arm_levels[2] is found.cluster_levels[2] is None


def test_an_arm_that_was_always_right_has_a_finite_ability_and_a_wide_interval() -> None:
    found = fit_item_response(Cells(np.array([[3.0], [3.0]]), np.array([[1.0], [0.0]]), np.zeros((2, 1))), np.ones(1))
    assert 0.5 < found.ability[0] < 5.0
    assert found.ability_error[0] > 0.7
    level = found.arm_levels[0]
    assert level is not None
    assert 0.2 < level.low < level.mean < level.high < 1.0


_COUNTS = arrays(float, (3, 4), elements=st.sampled_from([0.0, 1.0, 2.0, 7.0, 300.0, 1e6]))
_SHARES = arrays(float, (3, 4), elements=st.floats(0.0, 1.0))


@settings(deadline=None)
@given(_COUNTS, _SHARES, _SHARES)
def test_whatever_was_seen_the_answer_is_finite_and_turns_with_the_rewards(
    rewards: np.ndarray, mean: np.ndarray, part: np.ndarray
) -> None:
    """1 - r in place of r makes the able poor and the difficult easy, and changes nothing else."""
    variance = part * mean * (1.0 - mean)
    traffic = rewards.sum(axis=0)
    found = fit_item_response(Cells(rewards, mean, variance), traffic)
    turned = fit_item_response(Cells(rewards, 1.0 - mean, variance), traffic)
    np.testing.assert_allclose(turned.ability, -found.ability, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(turned.difficulty, -found.difficulty, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(turned.ability_error, found.ability_error, rtol=1e-3, atol=1e-6)
    known = np.isfinite(found.difficulty)
    assert np.isfinite(found.ability_error).tolist() == np.isfinite(found.ability).tolist()
    if known.any():
        assert abs(found.difficulty[known].mean()) < 1e-8
    for level in [*found.arm_levels, *found.cluster_levels]:
        assert level is None or 0.0 <= level.low <= level.mean <= level.high <= 1.0
    backwards = Cells(rewards[::-1, ::-1], mean[::-1, ::-1], variance[::-1, ::-1])
    if len({total for total in rewards.sum(axis=1) if total}) > 2:  # else two groups may be as large
        again = fit_item_response(backwards, traffic[::-1])
        if np.isfinite(again.ability).sum() == np.isfinite(found.ability).sum():
            np.testing.assert_allclose(again.ability[::-1], found.ability, rtol=1e-4, atol=1e-4)
