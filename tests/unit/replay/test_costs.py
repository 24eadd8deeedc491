from __future__ import annotations

import numpy as np
import pytest

from banditd.replay.costs import CostBook

N = 400


@pytest.fixture
def x() -> np.ndarray:
    made = np.random.default_rng(0).normal(size=(N, 6))
    made[:, 0] = 1.0
    return made


def true_cost(x: np.ndarray) -> np.ndarray:
    return np.exp(0.8 * x[:, 1])[:, None] * np.array([1e-4, 3e-3])


def test_an_arm_without_a_list_price_is_known_by_what_it_costs(x: np.ndarray) -> None:
    book = CostBook(np.full((N, 2), np.nan), x, fallback_usd=1e-3)
    for row in range(200):
        for arm in range(2):
            book.learn(row, arm, float(true_cost(x)[row, arm]))
    predicted = np.stack([book.predict(row) for row in range(200, N)])
    assert predicted / true_cost(x)[200:] == pytest.approx(np.ones((200, 2)), rel=0.3)


def test_which_queries_are_dear_is_learned_from_any_arm(x: np.ndarray) -> None:
    book = CostBook(np.tile([1e-4, 3e-3], (N, 1)), x, fallback_usd=1e-3)
    for row in range(200):
        book.learn(row, 0, float(true_cost(x)[row, 0]))
    predicted = np.array([book.predict(row)[1] for row in range(200, N)])
    assert np.corrcoef(predicted, true_cost(x)[200:, 1])[0, 1] > 0.95


def test_a_price_change_moves_predictions_at_once(x: np.ndarray) -> None:
    book = CostBook(np.tile([1e-4, 3e-3], (N, 1)), x, fallback_usd=1e-3)
    for row in range(50):
        book.learn(row, 1, float(true_cost(x)[row, 1]))
    before = book.predict(60)
    book.change_prices(np.array([1.0, 0.01]))
    assert book.predict(60) == pytest.approx(before * [1.0, 0.01])
    assert (book.spread(before) > 0.0).all()
