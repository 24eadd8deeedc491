"""Predicted cost of a call when nothing but list prices is known in advance. Learns means, not contexts."""

from __future__ import annotations

import numpy as np

from banditd.core.types import FloatArray

WORTH = 10.0  # calls that a list price's estimate is worth


class CostBook:
    """Cost per arm: the list-price estimate of the row times a ratio learned from what calls cost.

    estimate_usd : float64 (n, K), NaN for arms without a list price; those get the mean of what they cost
    so far, and ``fallback_usd`` (worth one call) before that.
    """

    def __init__(self, estimate_usd: FloatArray, *, fallback_usd: float) -> None:
        priced = np.isfinite(estimate_usd).all(axis=0)
        self._estimate = np.where(priced, estimate_usd, 1.0)
        typical = self._estimate.mean(axis=0)
        worth = np.where(priced, WORTH, 1.0)
        self._expected = worth * typical
        self._actual = np.where(priced, worth * typical, worth * fallback_usd)

    def predict(self, row: int) -> FloatArray:
        """Expected cost in dollars of every arm on a row: float64 (K,)."""
        result: FloatArray = self._estimate[row] * (self._actual / np.maximum(self._expected, 1e-300))
        return result

    def learn(self, row: int, arm: int, cost_usd: float) -> None:
        self._expected[arm] += self._estimate[row, arm]
        self._actual[arm] += cost_usd
