"""What a promise solves on is what the plain definition says, price by price and decision by decision."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from banditd.bandit.posterior.posterior import Posterior
from banditd.core.types import FloatArray
from banditd.deciding.promise_prices import PRICES, Candidates
from banditd.deciding.promise_window import WINDOW, Window

D = 5


def _posterior(generator: np.random.Generator, k: int, *, shared: bool) -> Posterior:
    def spread() -> FloatArray:
        root = generator.normal(size=(D, D))
        return np.asarray(root @ root.T / D + 0.1 * np.eye(D))

    return Posterior(
        centre=generator.uniform(0.2, 0.8, k),
        inverse=tuple(spread() for _ in range(k)),
        own=0.1 * generator.normal(size=(k, D)),
        shared_spread=spread() if shared else None,
        shared_pull=0.05 * generator.normal(size=D),
        counts=np.full(k, 50.0),
        noise=np.full(k, 0.2),
    )


def _window(generator: np.random.Generator, k: int, n: int) -> Window:
    window = Window(k, D)
    price = np.geomspace(1e-4, 1e-2, k)
    price[generator.integers(k)] = price[generator.integers(k)]  # two arms may cost the same
    for _ in range(n):
        x = generator.normal(size=D)
        x[0] = 1.0
        eligible = generator.random(k) < 0.8
        eligible[-1] = True
        own = eligible * generator.random(k)
        window.add(x[None], (price * generator.uniform(0.5, 2.0))[None], eligible[None], (own / own.sum())[None])
    return window


@given(sizes=st.lists(st.integers(1, 64), max_size=30))
def test_decisions_that_come_together_are_remembered_as_one_by_one(sizes: list[int]) -> None:
    together, single, at = Window(2, D), Window(2, D), 0
    for n in sizes:
        x = np.arange(at, at + n, dtype=np.float64)[:, None] * np.ones(D)
        rows = x, x[:, :2], x[:, :2] % 2 == 0, -x[:, :2]
        together.add(*rows)
        for row in range(n):
            single.add(*(one[[row]] for one in rows))
        at += n
    for name in ("x", "cost_usd", "eligible", "own"):
        assert np.array_equal(getattr(together, name), getattr(single, name))
    assert sorted(together.x[:, 0]) == list(range(max(at - WINDOW, 0), at))


def _plain(
    window: Window, posterior: Posterior, baseline: int, steepest: float
) -> list[tuple[float, list[int], tuple[float, float, float, float]]]:
    """Every price on every decision, and the loss as a sum over the decisions."""
    mean = window.x @ posterior.coefficients().T + posterior.centre * window.x[:, :1]
    mean, cost, n = np.clip(mean, 0.0, 1.0), window.cost_usd, window.size
    baseline_usd = float(cost[:, baseline].mean())
    found: list[tuple[float, list[int], tuple[float, float, float, float]]] = []
    for price in PRICES[steepest >= PRICES] / baseline_usd:
        utility = np.where(window.eligible, mean - price * cost, -np.inf)
        arms = [int(np.argmax(row)) for row in utility]
        if found and found[-1][1] == arms:
            continue
        weights = np.zeros((len(posterior.inverse), D))  # of the coefficients of every arm in the mean loss
        for row, arm in enumerate(arms):
            weights[baseline] -= window.x[row] / n
            weights[arm] += window.x[row] / n
        pulled = np.array([weight @ inverse for weight, inverse in zip(weights, posterior.inverse, strict=True)])
        variance = float((pulled * weights).sum())
        if posterior.shared_spread is not None:
            variance += float(pulled.sum(axis=0) @ posterior.shared_spread @ pulled.sum(axis=0))
        loss = sum(mean[row, baseline] - mean[row, arm] for row, arm in enumerate(arms)) / n
        saved = sum(cost[row, baseline] - cost[row, arm] for row, arm in enumerate(arms)) / n
        off = sum(arm != baseline for arm in arms) / n
        found.append((float(price), arms, (loss, max(variance, 0.0) ** 0.5, off, saved)))
    return found


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    k=st.integers(2, 12),
    n=st.sampled_from([1, 7, 60, WINDOW]),
    steepest=st.sampled_from([0.0, 0.02, 0.5, 1.0, 40.0]),
    shared=st.booleans(),
)
def test_every_price_plays_loses_and_saves_what_the_definition_says(
    seed: int, k: int, n: int, steepest: float, *, shared: bool
) -> None:
    generator = np.random.default_rng(seed)
    window, posterior = _window(generator, k, n), _posterior(generator, k, shared=shared)
    baseline = int(generator.integers(k))
    candidates = Candidates(window, posterior, baseline)
    prices, steps = candidates.ladder(steepest)
    plain = _plain(window, posterior, baseline, steepest)
    assert prices == pytest.approx([price for price, _, _ in plain], rel=1e-12)
    assert steps.tolist() == [arms for _, arms, _ in plain]
    for mine, (_, _, theirs) in zip(candidates.outcomes(steps), plain, strict=True):
        assert mine == pytest.approx(theirs, abs=1e-9)
