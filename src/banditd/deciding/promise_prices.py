"""What every price of money would play, lose and save on the recent decisions of a promise. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from banditd.bandit.posterior.posterior import Posterior
from banditd.core.types import BoolArray, FloatArray, IntArray
from banditd.deciding.promise_window import Window

PRICES: Final = np.concatenate([[0.0], np.geomspace(3e-3, 30.0, 36)])  # reward per mean cost of the baseline


class Candidates:
    """The window under today's posterior. baseline : index of the arm.

    baseline_reward, baseline_usd : its mean predicted reward and cost.
    """

    def __init__(self, window: Window, posterior: Posterior, baseline: int) -> None:
        self._x, self._cost, self._eligible, self._own = window.x, window.cost_usd, window.eligible, window.own
        mean = self._x @ posterior.coefficients().T + posterior.centre * self._x[:, :1]
        self._mean = np.clip(mean, 0.0, 1.0)
        self._rows = np.arange(self._mean.shape[0])
        # What each arm earns where it may answer, and what that costs: what a price is put on.
        self._worth = np.where(self._eligible, self._mean, -np.inf)
        self._spent = np.where(self._eligible, self._cost, 0.0)
        self._posterior = posterior
        self._baseline = baseline
        self._x_mean = self._x.mean(axis=0)
        self.baseline_reward = float(self._mean[:, baseline].mean())
        self.baseline_usd = max(float(self._cost[:, baseline].mean()), 1e-300)

    def _greedy(self, price: float) -> IntArray:
        arms: IntArray = (self._worth - price * self._spent).argmax(axis=1)
        return arms

    def exploration_loss(self, price: float) -> float:
        """What the policy's own vectors lose on its greedy arms at today's beliefs."""
        greedy = self._greedy(price)
        return float(self._mean[self._rows, greedy].mean() - (self._own * self._mean).sum(axis=1).mean())

    def ladder(self, steepest: float) -> Sequence[tuple[float, IntArray]]:
        """(price, arm of each row) for every price that plays something new; steepest : highest relative price.

        A dearer dollar never brings a dearer arm back: a row that plays what it plays at the steepest price plays it
        at all between.
        """
        prices = PRICES[steepest >= PRICES] / self.baseline_usd
        arms, last = self._greedy(prices[0]), self._greedy(prices[-1])
        rows = (arms != last).nonzero()[0]
        played = self._greedy_at(prices[1:], rows)
        there = played == last[rows]
        if (there[:-1] & ~there[1:]).any():
            played = np.where(np.logical_or.accumulate(there, axis=0), last[rows], played)
        anew = (np.concatenate([arms[None, rows], played[:-1]]) != played).any(axis=1).nonzero()[0]
        steps = np.tile(arms, (anew.size + 1, 1))
        steps[1:, rows] = played[anew]
        return list(zip(prices[[0, *(anew + 1)]].tolist(), steps, strict=True))

    def _greedy_at(self, prices: FloatArray, rows: IntArray) -> IntArray:
        """``_greedy`` of these rows at every price, (prices, rows): all at once, one arm after the other."""
        worth, spent = np.ascontiguousarray(self._worth[rows].T), np.ascontiguousarray(self._spent[rows].T)
        each = prices[:, None]
        best, found = worth[0] - each * spent[0], np.zeros((prices.size, rows.size), dtype=np.intp)
        for arm in range(1, worth.shape[0]):
            now = worth[arm] - each * spent[arm]
            found[now > best] = arm
            np.maximum(best, now, out=best)
        return found

    def outcomes(self, steps: Sequence[tuple[float, IntArray]]) -> list[tuple[float, float, float, float]]:
        """Of each step: (mean loss against the baseline, its standard error, share of rows off it, dollars saved).

        All prices at once, as one product each: that is most of what solving costs.
        """
        arms = np.stack([mine for _, mine in steps])  # (prices, n)
        n, k = self._mean.shape
        some = np.bincount(arms.ravel(), minlength=k).nonzero()[0]  # of many arms few are played
        place = np.zeros(k, dtype=np.intp)
        place[some] = np.arange(some.size)
        played = np.zeros((some.size, arms.shape[0], n))
        played[place[arms], np.arange(arms.shape[0])[:, None], self._rows] = 1.0
        moved = np.zeros((k, arms.shape[0], self._x.shape[1]))
        moved[some] = (played.reshape(-1, n) @ self._x).reshape(some.size, arms.shape[0], -1) / n
        moved[self._baseline] -= self._x_mean
        variance = self._posterior.combined_variance(moved)
        gap = self.baseline_reward - self._mean[self._rows, arms].mean(axis=1)
        error, off = np.sqrt(np.maximum(variance, 0.0)), (arms != self._baseline).mean(axis=1)
        saving_usd = self.baseline_usd - self._cost[self._rows, arms].mean(axis=1)
        return list(zip(gap.tolist(), error.tolist(), off.tolist(), saving_usd.tolist(), strict=True))

    def any_cheaper(self) -> bool:
        """Whether an arm that may answer is predicted to cost less than the baseline, on any row."""
        cheaper: BoolArray = self._cost < self._cost[:, [self._baseline]]
        return bool((cheaper & self._eligible).any())
