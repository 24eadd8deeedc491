"""Disjoint LinUCB (Li et al. 2010, Algorithm 1) in a few lines of numpy: ridge 1 on PCA-25 + bias.

The setting closest to ParetoBandit's in the design study. It learns the score and takes the known penalty off,
which is easier than learning the utility.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from bench.learning.peers.base import Peer
from bench.learning.prepared import Prepared

PACKAGE = None


class LinUCB(Peer):
    """alpha : width of the confidence bound, in units of reward. Inverses by Sherman-Morrison."""

    def __init__(self, prepared: Prepared, seed: int, *, alpha: float) -> None:
        super().__init__(prepared, seed)
        self._x = prepared.pca25
        d = self._x.shape[1]
        self._alpha = alpha
        self._inverse = np.tile(np.eye(d), (prepared.n_arms, 1, 1))
        self._b = np.zeros((prepared.n_arms, d))
        self._theta = np.zeros((prepared.n_arms, d))

    def choose(self, row: int) -> int:
        x = self._x[row]
        width = np.sqrt(np.maximum((self._inverse @ x) @ x, 0.0))
        return self.first_best(self._theta @ x + self._alpha * width - self.prepared.penalty)

    def learn(self, row: int, arm: int, score: float) -> None:
        x = self._x[row]
        gain = self._inverse[arm] @ x
        self._inverse[arm] -= np.outer(gain, gain) / (1.0 + x @ gain)
        self._b[arm] += score * x
        self._theta[arm] = self._inverse[arm] @ self._b[arm]


POLICIES = {f"LinUCB, PCA-25 + bias, alpha {alpha}": partial(LinUCB, alpha=alpha) for alpha in (0.1, 0.5, 1.0)}
