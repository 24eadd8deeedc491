"""A kNN router: per arm the mean score of the 40 rewarded queries nearest in cosine, greedy, 5 % uniform.

The router of "kNN beats learned routers" (2505.12601) made online: its table is what it has seen. Embeddings are
banditd's static ones. An arm without rewards counts as 1, so each is tried. The known penalty is taken off.
"""

from __future__ import annotations

import numpy as np

from bench.learning.peers.base import Peer
from bench.learning.prepared import Prepared

PACKAGE = None
NEIGHBOURS = 40
EPSILON = 0.05


class NearestNeighbours(Peer):
    def __init__(self, prepared: Prepared, seed: int) -> None:
        super().__init__(prepared, seed)
        self._vectors = prepared.embeddings.astype(np.float32)
        n, d = self._vectors.shape
        self._seen = np.zeros((n, d), dtype=np.float32)
        self._arm = np.zeros(n, dtype=np.intp)
        self._score = np.zeros(n)
        self._n = 0

    def choose(self, row: int) -> int:
        k = self.prepared.n_arms
        if self.generator.random() < EPSILON:
            return int(self.generator.integers(k))
        closeness = self._seen[: self._n] @ self._vectors[row]
        arms, scores = self._arm[: self._n], self._score[: self._n]
        means = np.ones(k)
        for arm in range(k):
            mine = np.flatnonzero(arms == arm)
            if mine.size > NEIGHBOURS:
                mine = mine[np.argpartition(closeness[mine], -NEIGHBOURS)[-NEIGHBOURS:]]
            if mine.size:
                means[arm] = scores[mine].mean()
        return self.first_best(means - self.prepared.penalty)

    def learn(self, row: int, arm: int, score: float) -> None:
        self._seen[self._n] = self._vectors[row]
        self._arm[self._n] = arm
        self._score[self._n] = score
        self._n += 1


POLICIES = {"kNN router (k 40, eps 5 %)": NearestNeighbours}
