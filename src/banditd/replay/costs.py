"""Predicted cost of a call when nothing but list prices is known in advance, learned from what calls cost."""

from __future__ import annotations

import numpy as np

from banditd.budget.loglinear import OWN_LEVEL, LogLinear
from banditd.core.types import FloatArray

UNPRICED_LEVEL = 9.0  # variance of the log of an arm's cost over a mere guess


class CostBook:
    """Cost per arm: the list-price estimate of the row times a ratio learned from contexts and costs.

    estimate_usd : float64 (n, K), NaN for arms without a list price, whose estimate is ``fallback_usd`` and worth
    next to nothing. x : float64 (n, d), contexts of the rows.
    """

    def __init__(self, estimate_usd: FloatArray, x: FloatArray, *, fallback_usd: float) -> None:
        priced = np.isfinite(estimate_usd).all(axis=0) & (estimate_usd > 0.0).all(axis=0)
        self._estimate = np.where(priced, estimate_usd, fallback_usd or 1.0)
        self._x = x
        self._model = LogLinear(
            x.shape[1], estimate_usd.shape[1], level_variance=np.where(priced, OWN_LEVEL, UNPRICED_LEVEL)
        )

    def predict(self, row: int) -> FloatArray:
        """Expected cost in dollars of every arm on a row: float64 (K,)."""
        return self._model.predict(self._x[row], self._estimate[row])

    def spread(self, cost_usd: FloatArray) -> FloatArray:
        """Standard deviation of calls about their predicted costs: float64 (K,)."""
        return self._model.deviation(cost_usd)

    def learn(self, row: int, arm: int, cost_usd: float) -> None:
        self._model.learn(arm, self._x[row], cost_usd, float(self._estimate[row, arm]))

    def change_prices(self, factor: FloatArray) -> None:
        """List prices are now so many times what they were, (K,): what was learned of token counts stands."""
        self._estimate = self._estimate * factor
