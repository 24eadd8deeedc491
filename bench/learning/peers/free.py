"""Two policies that look at no context: uniform play, and Thompson sampling on one Beta posterior per arm.

A graded reward r counts as r of a success and 1 - r of a failure; the known penalty is taken off the draw.
"""

from __future__ import annotations

import numpy as np

from bench.learning.peers.base import Peer
from bench.learning.prepared import Prepared

PACKAGE = None


class Uniform(Peer):
    def choose(self, row: int) -> int:
        return int(self.generator.integers(self.prepared.n_arms))

    def learn(self, row: int, arm: int, score: float) -> None:
        """It never does."""


class BetaThompson(Peer):
    """Prior Beta(1, 1)."""

    def __init__(self, prepared: Prepared, seed: int) -> None:
        super().__init__(prepared, seed)
        self._won = np.ones(prepared.n_arms)
        self._lost = np.ones(prepared.n_arms)

    def choose(self, row: int) -> int:
        return int((self.generator.beta(self._won, self._lost) - self.prepared.penalty).argmax())

    def learn(self, row: int, arm: int, score: float) -> None:
        self._won[arm] += score
        self._lost[arm] += 1.0 - score


POLICIES = {"uniform": Uniform, "context-free Thompson (Beta)": BetaThompson}
