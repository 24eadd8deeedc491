from __future__ import annotations

import numpy as np
import pytest

from banditd.replay.references import budget_headroom, column_means, mixture_utility, phases, references

UTILITY = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, np.nan]])
CATEGORY = np.array([0, 0, 1, 1])


def test_the_reference_policies_on_a_table_done_by_hand() -> None:
    refs = references(UTILITY, CATEGORY)
    np.testing.assert_allclose(refs.uniform_rows, [0.5, 0.5, 0.5, 0.0])
    assert refs.best_arm == 0  # 2/4 against 1/3
    np.testing.assert_allclose(refs.category_rows, [1, 1, 1, np.nan])
    np.testing.assert_allclose(refs.oracle_rows, [1, 1, 1, 0])


def test_headroom_is_0_for_uniform_and_1_for_the_best_table() -> None:
    refs = references(UTILITY, CATEGORY)
    rows = np.arange(4)
    assert refs.headroom(refs.uniform_rows, rows) == pytest.approx(0.0)
    assert refs.headroom(refs.category_rows, rows) == pytest.approx(1.0)


def test_headroom_is_unknown_when_all_arms_are_alike() -> None:
    refs = references(np.full((5, 3), 0.5), np.zeros(5, dtype=np.intp))
    assert refs.headroom(np.full(5, 0.5), np.arange(5)) is None


def test_means_skip_what_is_missing() -> None:
    np.testing.assert_allclose(column_means(np.array([[1.0, np.nan], [0.0, np.nan]])), [0.5, -np.inf])


def test_the_mixture_pays_the_price_of_its_cost() -> None:
    score, cost = np.array([[0.0, 1.0]] * 3), np.array([[1.0, 3.0]] * 3)
    assert mixture_utility(score, cost, spend_usd=2.0, price=0.0) == pytest.approx(0.5)
    assert mixture_utility(score, cost, spend_usd=2.0, price=0.1) == pytest.approx(0.3)


def test_phases_of_short_and_long_runs() -> None:
    assert dict(phases(9))["last_third"] == slice(6, 9)
    assert dict(phases(2))["last_third"] == slice(1, 2)
    assert dict(phases(3000))["first_500"] == slice(0, 500)


def test_under_a_budget_headroom_is_between_the_cheapest_arm_and_the_mixture_that_it_pays_for() -> None:
    score, cost = np.tile([0.2, 0.8], (10, 1)), np.tile([1.0, 3.0], (10, 1))
    assert budget_headroom(np.full(10, 0.2), score, cost, 2.0) == pytest.approx(0.0)
    assert budget_headroom(np.full(10, 0.5), score, cost, 2.0) == pytest.approx(1.0)  # half of each arm
    assert budget_headroom(np.full(10, 0.8), score, cost, 2.0) == pytest.approx(2.0)
    assert budget_headroom(np.full(10, 0.2), score, cost, 1.0) is None  # it buys the cheapest arm alone
    assert budget_headroom(np.full(10, np.nan), score, cost, 2.0) is None
