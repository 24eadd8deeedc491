"""Predicted rewards and costs of recent decisions, as arrays on which the price is solved."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from banditd.core.types import FloatArray

_FIRST: Final = 8  # initial capacity, since many windows only see a few decisions


class Window:
    """The newest ``size`` decisions, unordered."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._added = 0
        self._keys: list[object] = []
        self._mean = np.full((0, min(_FIRST, size)), -np.inf)
        self._cost_usd = np.zeros(self._mean.shape)

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, mean: FloatArray, cost_usd: FloatArray, key: object) -> None:
        """Add a decision, replacing the oldest if there are ``size``. mean, cost_usd : of its arms, (n,) each."""
        place, n_arms = self._added % self._size, mean.shape[0]
        self._added += 1
        self._make_room(n_arms, place)
        self._mean[:n_arms, place], self._mean[n_arms:, place] = mean, -np.inf
        self._cost_usd[:n_arms, place], self._cost_usd[n_arms:, place] = cost_usd, 0.0
        if place < len(self._keys):
            self._keys[place] = key
        else:
            self._keys.append(key)

    def _make_room(self, n_arms: int, place: int) -> None:
        arms, room = self._mean.shape
        if n_arms <= arms and place < room:
            return
        shape = max(arms, n_arms), room if place < room else min(2 * room, self._size)
        mean, cost_usd = np.full(shape, -np.inf), np.zeros(shape)
        mean[:arms, :room], cost_usd[:arms, :room] = self._mean, self._cost_usd
        self._mean, self._cost_usd = mean, cost_usd

    def reprice(self, cost_of: Callable[[object], FloatArray]) -> None:
        """Replace the costs of the decisions.

        cost_of : from a decision's key, if it has one, to the costs of its arms.
        """
        for place, key in enumerate(self._keys):
            if key is not None:
                cost_usd = cost_of(key)
                self._cost_usd[: cost_usd.shape[0], place] = cost_usd

    def arrays(self) -> tuple[FloatArray, FloatArray]:
        """(mean, cost_usd), (n_arms, n_decisions) each; entries beyond a decision's arms have mean -inf and cost
        0.
        """
        n = len(self._keys)
        return self._mean[:, :n], self._cost_usd[:, :n]
