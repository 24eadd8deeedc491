"""What every peer's adapter does: times the two calls and hands rows over by index. No policy here."""

from __future__ import annotations

from abc import ABC, abstractmethod
from time import perf_counter

import numpy as np

from banditd.core.types import FloatArray
from banditd.replay.decider import Row, Served
from bench.learning.prepared import Prepared


class Peer(ABC):
    """A ``Decider``. A missing reward teaches a peer nothing."""

    def __init__(self, prepared: Prepared, seed: int) -> None:
        self.choose_us: list[float] = []
        self.update_us: list[float] = []
        self.prepared = prepared
        self.generator = np.random.default_rng([seed, 3])

    @abstractmethod
    def choose(self, row: int) -> int:
        """Index of the arm for a row of the data."""

    @abstractmethod
    def learn(self, row: int, arm: int, score: float) -> None:
        """The arm's score on the row, in [0, 1]."""

    async def decide(self, row: Row) -> Served:
        started = perf_counter()
        arm = self.choose(row.index)
        self.choose_us.append(1e6 * (perf_counter() - started))
        return Served(arm, row.index)

    async def reward(self, served: Served, *, reward: float | None, cost_usd: float) -> None:
        if reward is None:
            return
        assert isinstance(served.token, int)  # made above
        started = perf_counter()
        self.learn(served.token, served.arm, reward)
        self.update_us.append(1e6 * (perf_counter() - started))

    async def begin_scoring(self) -> None:  # noqa: B027  (a peer may leave it)
        """Nothing changes."""

    async def close(self) -> None:  # noqa: B027
        """Nothing is held."""

    def first_best(self, values: FloatArray) -> int:
        """Index of the greatest, ties at random."""
        return int(self.generator.choice(np.flatnonzero(values == values.max())))
