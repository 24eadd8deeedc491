"""What holds a budget in a replay: predicted costs, the pacer and the guard. It does not choose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from banditd.budget.guard import Guard, mixture_vector
from banditd.budget.pacer import BoolArray, Pacer
from banditd.core.types import Blend, FloatArray, IntArray
from banditd.replay.costs import CostBook


@dataclass(frozen=True, slots=True, eq=False)
class Offer:
    """What the arms cost on a row: columns (as in the data), predicted cost, which can be paid for; (n,) each."""

    row: int
    columns: IntArray
    cost_usd: FloatArray
    affordable: BoolArray


class _Remembered(NamedTuple):
    """A decision that the pacer keeps: its row, and the arms (as in the data) that it was about."""

    row: int
    columns: IntArray


class Purse:
    """One budget over the arms of the data.

    prior_cost_usd : float64 (n, K), costs by list price, NaN where there is none. x : float64 (n, d), contexts.
    """

    def __init__(self, budget_usd: float, prior_cost_usd: FloatArray, x: FloatArray) -> None:
        self.pacer = Pacer(budget_usd)
        self.guard = Guard(prior_cost_usd.shape[1])
        self._costs = CostBook(prior_cost_usd, x, fallback_usd=budget_usd)

    def offer(self, row: int, columns: IntArray) -> Offer:
        every = self._costs.predict(row)
        cost, spread = every[columns], self._costs.spread(every)[columns]
        return Offer(row, columns, cost, self.pacer.mask(cost, spread))

    def blend(self, offer: Offer) -> Blend | None:
        """What the guard mixes into the vector over the affordable arms; None before the arms are known."""
        mixture = self.guard.mixture(self.pacer.target_usd)
        if mixture is None:
            return None
        cost = offer.cost_usd[offer.affordable]
        return Blend(self.guard.share, mixture_vector(mixture, offer.columns[offer.affordable], cost))

    def charge(self, offer: Offer, mean: FloatArray, played: FloatArray, reserved_usd: float) -> None:
        """A decision was drawn. mean : of every arm of the offer, (n,). played : over the affordable ones."""
        probability = np.zeros(offer.columns.shape[0])
        probability[offer.affordable] = played
        key = _Remembered(offer.row, offer.columns)
        self.pacer.observe(mean, offer.cost_usd, probability=probability, key=key)
        self.pacer.reserve(reserved_usd)
        every = np.full((2, self.guard.n_arms), np.nan)
        every[:, offer.columns] = mean, offer.cost_usd
        self.guard.observe(every[0], every[1])

    def reserve(self, row: int, arm: int) -> float:
        """Charge a decision that was made elsewhere its predicted cost, and give that."""
        cost = float(self._costs.predict(row)[arm])
        self.pacer.reserve(cost)
        return cost

    def settle(self, row: int, arm: int, reserved_usd: float, cost_usd: float) -> None:
        self._costs.learn(row, arm, cost_usd)
        self.pacer.settle(reserved_usd, cost_usd)

    def change_prices(self, factor: FloatArray) -> None:
        """List prices are now so many times what they were, float64 (K,); in force from the next decision on."""
        self._costs.change_prices(factor)
        self.pacer.reprice(self._cost_again)

    def _cost_again(self, key: object) -> FloatArray:
        """Predicted costs of a remembered decision at the prices of today."""
        assert isinstance(key, _Remembered)  # noqa: S101  (made above)
        cost: FloatArray = self._costs.predict(key.row)[key.columns]
        return cost
