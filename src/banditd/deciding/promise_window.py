"""The recent decisions from which a promise's terms are solved. Pure."""

from __future__ import annotations

import copy
from typing import Final

import numpy as np

from banditd.core.types import BoolArray, FloatArray, IntArray

WINDOW: Final = 500  # recent decisions


class Window:
    """The recent decisions over K arms in a fixed order: a ring buffer of ``WINDOW`` rows."""

    def __init__(self, n_arms: int, n_features: int) -> None:
        self.size = self._next = 0
        self._x = np.zeros((WINDOW, n_features))
        self._cost = np.zeros((WINDOW, n_arms))
        self._eligible = np.zeros((WINDOW, n_arms), dtype=bool)
        self._own = np.zeros((WINDOW, n_arms))

    def add(self, x: FloatArray, cost_usd: FloatArray, eligible: BoolArray, own: FloatArray) -> None:
        """Add decisions, at most ``WINDOW``: float64 (n, d) and (n, K), ``eligible`` is bool."""
        n, begin = len(x), self._next
        fit = WINDOW - begin
        if n > fit:
            self.add(x[:fit], cost_usd[:fit], eligible[:fit], own[:fit])
            self.add(x[fit:], cost_usd[fit:], eligible[fit:], own[fit:])
            return
        rows = slice(begin, begin + n)
        self._x[rows], self._cost[rows], self._eligible[rows], self._own[rows] = x, cost_usd, eligible, own
        self._next = (begin + n) % WINDOW
        self.size = min(self.size + n, WINDOW)

    def copied(self) -> Window:
        """A copy that ``add`` on this one does not change."""
        other = copy.copy(self)
        for name in ("_x", "_cost", "_eligible", "_own"):
            setattr(other, name, getattr(self, name).copy())
        return other

    def reprice(self, factor: FloatArray) -> None:
        """Multiply the remembered costs of each arm by its factor, float64 (K,): prices have changed."""
        self._cost *= factor

    def realign(self, columns: IntArray) -> None:
        """Change the arms. columns : previous index of each arm; -1 for a new one, which was never eligible."""
        known = columns >= 0
        self._cost = np.where(known, self._cost[:, columns], 0.0)
        self._eligible = np.where(known, self._eligible[:, columns], False)
        self._own = np.where(known, self._own[:, columns], 0.0)

    def offer(self, able: BoolArray, new: BoolArray, cost_usd: FloatArray) -> None:
        """Change which arms may answer, to exactly those in ``able``: bool (K,).

        new : arms among them that could not before; they count as eligible on every row, at a cost of at least
        ``cost_usd``, float64 (K,).
        """
        self._own *= able
        total = self._own.sum(axis=1, keepdims=True)
        self._own /= np.where(total > 0.0, total, 1.0)
        self._eligible &= able
        self._eligible |= new
        self._cost = np.where(new, np.maximum(self._cost, cost_usd), self._cost)

    @property
    def x(self) -> FloatArray:
        return self._x[: self.size]

    @property
    def cost_usd(self) -> FloatArray:
        return self._cost[: self.size]

    @property
    def eligible(self) -> BoolArray:
        return self._eligible[: self.size]

    @property
    def own(self) -> FloatArray:
        return self._own[: self.size]

    def allow(self, arm: int) -> None:
        """Count the arm, which may answer again, as eligible at the newest decision."""
        self._eligible[(self._next - 1) % WINDOW, arm] = self.size > 0

    def was_eligible(self, arm: int) -> bool:
        """Whether the arm was eligible at the newest decision."""
        return bool(self._eligible[(self._next - 1) % WINDOW, arm])
