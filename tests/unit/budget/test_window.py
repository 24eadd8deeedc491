"""The window of a pacer, against a list of what it was given."""

from __future__ import annotations

from collections import deque

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from banditd.budget.window import Window

SIZES = st.sampled_from([1, 3, 8, 20])


def plain(seen: deque[tuple[np.ndarray, np.ndarray, object]]) -> list[tuple[float, ...]]:
    """Mean and cost of every arm of every decision, in an order of their own."""
    return sorted((float(m), float(c)) for mean, cost, _ in seen for m, c in zip(mean, cost, strict=True))


def kept(window: Window) -> list[tuple[float, ...]]:
    mean, cost = window.arrays()
    assert not cost[~np.isfinite(mean)].any(), "what is no arm costs nothing"
    there = np.isfinite(mean)
    return sorted(zip(mean[there].tolist(), cost[there].tolist(), strict=True))


@given(size=SIZES, widths=st.lists(st.integers(1, 5), max_size=60), seed=st.integers(0, 99))
def test_the_newest_decisions_are_kept_with_the_costs_of_today(size: int, widths: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    window = Window(size)
    seen: deque[tuple[np.ndarray, np.ndarray, object]] = deque(maxlen=size)
    for number, n_arms in enumerate(widths):
        mean, cost = rng.random(n_arms), rng.random(n_arms)
        key = None if number % 3 == 0 else (number, n_arms)
        window.add(mean, cost, key)
        seen.append((mean, cost, key))
        assert len(window) == len(seen)
        assert kept(window) == plain(seen)

    def cost_of(key: object) -> np.ndarray:
        assert isinstance(key, tuple)
        return np.full(key[1], float(key[0]))

    window.reprice(cost_of)
    assert kept(window) == plain(
        deque((mean, cost if key is None else cost_of(key), key) for mean, cost, key in seen)
    )
