from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from banditd.services.reports.summaries import (
    Row,
    convergence,
    entropy_nats,
    histogram_percentile,
    mean_reward,
    t_point,
)


def summary_of(rewards: list[float]):  # type: ignore[no-untyped-def]
    return mean_reward(
        rewards=len(rewards),
        weight=float(len(rewards)),
        weighted_reward=sum(rewards),
        weighted_square=sum(r * r for r in rewards),
    )


def test_no_reward_is_no_mean_and_no_interval() -> None:
    nothing = summary_of([])
    assert (nothing.rewards, nothing.mean, nothing.interval, nothing.method) == (0, None, None, None)


@pytest.mark.parametrize("degrees", [10, 29, 100, 10_000])
def test_the_t_point_is_that_of_the_tables(degrees: int) -> None:
    assert t_point(degrees) == pytest.approx(stats.t.ppf(0.975, degrees), abs=2e-3 if degrees < 29 else 1e-4)


def test_with_many_rewards_the_interval_is_students() -> None:
    rewards = np.random.default_rng(1).beta(2, 5, size=80)
    found = summary_of(rewards.tolist())
    low, high = stats.t.interval(0.95, 79, loc=rewards.mean(), scale=rewards.std(ddof=1) / math.sqrt(80))
    assert found.method == "student_t"
    assert found.interval == pytest.approx((low, high), abs=1e-4)


def test_with_few_rewards_of_0_and_1_the_interval_is_wilsons() -> None:
    found = summary_of([1.0] * 7 + [0.0] * 3)
    expected = stats.binomtest(7, 10).proportion_ci(method="wilson")
    assert found.method == "wilson"
    assert found.interval == pytest.approx((expected.low, expected.high), abs=1e-9)


@pytest.mark.parametrize("rewards", [[0.9], [1.0], [0.9, 0.8]])
def test_one_or_two_rewards_have_a_mean_and_no_interval(rewards: list[float]) -> None:
    found = summary_of(rewards)
    assert (found.rewards, found.interval, found.method) == (len(rewards), None, None)
    assert found.mean == pytest.approx(sum(rewards) / len(rewards))
    assert summary_of([*rewards, 0.7, 0.7]).interval is not None


def test_rewards_that_are_all_alike_still_leave_doubt() -> None:
    for n in (3, 5, 50):
        low, high = summary_of([1.0] * n).interval
        assert low < 1.0 - 1.0 / (n + 10)
        assert high == pytest.approx(1.0)


@pytest.mark.parametrize(("n", "a", "b"), [(8, 1, 1), (20, 0.5, 0.5), (60, 2, 3), (200, 0.3, 2)])
def test_the_interval_covers_the_truth_as_often_as_it_says(n: int, a: float, b: float) -> None:
    rng = np.random.default_rng(7)
    truth = a / (a + b)
    covered = 0
    for _ in range(1000):
        low, high = summary_of(rng.beta(a, b, size=n).tolist()).interval
        covered += low <= truth <= high
    assert covered >= 925


@given(st.lists(st.floats(0, 1), min_size=3, max_size=60))
def test_the_interval_lies_in_the_unit_interval_around_the_mean(rewards: list[float]) -> None:
    found = summary_of(rewards)
    low, high = found.interval
    assert 0.0 <= low <= found.mean + 1e-9
    assert found.mean - 1e-9 <= high <= 1.0


def test_entropy_is_zero_for_one_arm_and_the_logarithm_for_equal_ones() -> None:
    assert entropy_nats([0, 0]) is None
    assert entropy_nats([5, 0]) == 0.0
    assert entropy_nats([3, 3, 3, 3]) == pytest.approx(math.log(4))
    assert entropy_nats([1, 3]) == pytest.approx(stats.entropy([0.25, 0.75]))


def test_percentiles_are_linear_inside_a_bin_and_silent_beyond_the_last_bound() -> None:
    bins = [(1.0, 10), (10.0, 80), (math.inf, 10)]
    assert histogram_percentile(bins, 0.05) == pytest.approx(0.5)
    assert histogram_percentile(bins, 0.5) == pytest.approx(1.0 + 9.0 * 40 / 80)
    assert histogram_percentile(bins, 0.95) is None
    assert histogram_percentile([(1.0, 0)], 0.5) is None


def steps(older: dict[str, int], newer: dict[str, int], entropy: tuple[float, float] = (0.4, 0.4)) -> list[Row]:
    """Two steps; ``entropy`` is the mean per decision in each."""
    return [
        {"bucket_at_us": at, "arm": arm, "decisions": n, "entropy_sum": n * entropy[at]}
        for at, shares in enumerate((older, newer))
        for arm, n in shares.items()
    ]


ENOUGH = {"a": 50, "b": 50}


def test_steady_shares_have_converged_and_moving_ones_have_not() -> None:
    assert convergence(steps({"a": 700, "b": 300}, {"a": 710, "b": 290}), ENOUGH).converged is True
    moving = convergence(steps({"a": 500, "b": 500}, {"a": 900, "b": 100}), ENOUGH)
    assert moving.converged is False
    assert moving.evidence["share_shift"] == pytest.approx(0.4)


def test_falling_entropy_is_not_convergence_even_at_equal_shares() -> None:
    falling = steps({"a": 500, "b": 500}, {"a": 500, "b": 500}, entropy=(0.65, 0.3))
    assert convergence(falling, ENOUGH).converged is False


@pytest.mark.parametrize(
    ("rows", "rewards", "reason"),
    [
        ([], ENOUGH, "fewer than 200 decisions"),
        (steps({"a": 100, "b": 50}, {"a": 100, "b": 50}), ENOUGH, "fewer than 200 decisions"),
        (steps({"a": 1000}, {"a": 1000}), {"a": 50, "b": 3}, "fewer than 10 rewards for b"),
        (steps({"a": 1000}, {"a": 1000}), {"a": 50}, "fewer than two enabled arms"),
    ],
)
def test_too_little_data_is_null_with_a_reason(rows: list[Row], rewards: dict[str, int], reason: str) -> None:
    verdict = convergence(rows, rewards)
    assert verdict.converged is None
    assert reason in verdict.reason


def test_chance_alone_does_not_undo_convergence() -> None:
    rng = np.random.default_rng(3)
    settled = 0
    for _ in range(200):
        older, newer = rng.multinomial(300, [0.4, 0.35, 0.25], size=2)
        names = ("a", "b", "c")
        rows = steps(dict(zip(names, older.tolist(), strict=True)), dict(zip(names, newer.tolist(), strict=True)))
        settled += convergence(rows, dict.fromkeys(names, 20)).converged is True
    assert settled >= 180
