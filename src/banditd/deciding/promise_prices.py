"""What each price of a dollar would play, lose and save on a promise's recent decisions. Pure."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from banditd.bandit.posterior.posterior import Posterior
from banditd.core.types import BoolArray, FloatArray, IntArray
from banditd.deciding.promise_window import Window

PRICES: Final = np.concatenate([[0.0], np.geomspace(3e-3, 30.0, 36)])  # reward per mean cost of the baseline

Arms = NDArray[np.int16]
"""Arm indices; small integers are compared and gathered in a quarter of the time."""


class Candidates:
    """The window under the present posterior. baseline : index of the arm.

    baseline_reward, baseline_usd : its mean predicted reward and cost.
    """

    def __init__(self, window: Window, posterior: Posterior, baseline: int) -> None:
        self._x, self._cost, self._eligible, self._own = window.x, window.cost_usd, window.eligible, window.own
        mean = self._x @ posterior.coefficients().T + posterior.centre * self._x[:, :1]
        self._mean = np.minimum(np.maximum(mean, 0.0), 1.0)
        self._rows = np.arange(self._mean.shape[0])
        # Reward of each arm where it is eligible; a price times its cost is taken off.
        self._worth = np.where(self._eligible, self._mean, -np.inf)
        self._spent = np.where(self._eligible, self._cost, 0.0)
        self._posterior = posterior
        self._baseline = baseline
        self.baseline_reward = float(self._mean[:, baseline].mean())
        self.baseline_usd = max(float(self._cost[:, baseline].mean()), 1e-300)

    def _greedy(self, price: float) -> IntArray:
        arms: IntArray = (self._worth - price * self._spent).argmax(axis=1)
        return arms

    def exploration_loss(self, price: float) -> float:
        """Predicted loss of the policy's own vectors against their greedy arms."""
        greedy = self._greedy(price)
        return float(self._mean[self._rows, greedy].mean() - (self._own * self._mean).sum(axis=1).mean())

    def ladder(self, steepest: float) -> tuple[list[float], Arms]:
        """(prices, arm of each row as (prices, n)), for every price that plays something new.

        A higher price never brings a dearer arm back, so a row that plays the same arm at price 0 and at the steepest
        price plays it at all prices between.

        steepest : highest relative price.
        """
        prices = PRICES[steepest >= PRICES] / self.baseline_usd
        arms, last = self._greedy(prices[0]).astype(np.int16), self._greedy(prices[-1]).astype(np.int16)
        rows = (arms != last).nonzero()[0]
        played = self._greedy_at(prices[1:], rows)
        there = played == last[rows]
        if (there[:-1] & ~there[1:]).any():
            played = np.where(np.logical_or.accumulate(there, axis=0), last[rows], played)
        anew = (np.concatenate([arms[None, rows], played[:-1]]) != played).any(axis=1).nonzero()[0]
        steps = arms[None].repeat(anew.size + 1, axis=0)
        steps[1:, rows] = played[anew]
        used: list[float] = prices[[0, *(anew + 1)]].tolist()
        return used, steps

    def _greedy_at(self, prices: FloatArray, rows: IntArray) -> Arms:
        """``_greedy`` of these rows at every price, (prices, rows)."""
        worth, spent = np.ascontiguousarray(self._worth[rows].T), np.ascontiguousarray(self._spent[rows].T)
        each, found = prices[:, None], np.zeros((prices.size, rows.size), dtype=np.int16)
        best, now = worth[0] - each * spent[0], np.empty(found.shape)
        for arm in range(1, worth.shape[0]):
            np.multiply(each, spent[arm], out=now)
            np.subtract(worth[arm], now, out=now)
            np.maximum(found, (now > best) * np.int16(arm), out=found)  # indexing with a mask would be far slower
            np.maximum(best, now, out=best)
        return found

    def outcomes(self, arms: Arms) -> list[list[float]]:
        """By price: mean loss against the baseline, its standard error, share of rows off it, dollars saved.

        All prices at once, with one matrix product each: this is most of the cost of solving.

        arms : the arm of every row at each price, (prices, n).
        """
        n, k = self._mean.shape
        some = np.bincount(arms.ravel(), minlength=k).nonzero()[0]  # few of many arms are played
        played = (arms == some[:, None, None]).astype(np.float64)
        moved = np.zeros((k, arms.shape[0], self._x.shape[1]))
        moved[some] = (played.reshape(-1, n) @ self._x).reshape(some.size, arms.shape[0], -1) / n
        moved[self._baseline] -= self._x.mean(axis=0)
        variance = self._posterior.combined_variance(moved)
        places = arms + k * self._rows
        gap = self.baseline_reward - self._mean.take(places).mean(axis=1)
        error, off = np.sqrt(np.maximum(variance, 0.0)), (arms != self._baseline).mean(axis=1)
        saving_usd = self.baseline_usd - self._cost.take(places).mean(axis=1)
        found: list[list[float]] = np.array([gap, error, off, saving_usd]).T.tolist()
        return found

    def any_cheaper(self) -> bool:
        """Whether an eligible arm is predicted to cost less than the baseline on any row."""
        cheaper: BoolArray = self._cost < self._cost[:, [self._baseline]]
        return bool((cheaper & self._eligible).any())
