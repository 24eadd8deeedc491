"""river's LinUCBDisjoint with its defaults (alpha 1, beta 1, no burn-in), on one dictionary of features a query.

It takes one reward and knows nothing of money: it learns the utility, score - penalty. banditd's 64 features
served it a little better than PCA-25 + bias (mean of four cases .63 against .61, whole run).
"""

from __future__ import annotations

from bench.learning.peers.base import Peer
from bench.learning.prepared import Prepared

PACKAGE = "river"


class River(Peer):
    def __init__(self, prepared: Prepared, seed: int) -> None:
        from river.bandit import LinUCBDisjoint

        super().__init__(prepared, seed)
        self._x = prepared.x64
        self._policy = LinUCBDisjoint(seed=seed)
        self._arms = list(range(prepared.n_arms))

    def choose(self, row: int) -> int:
        return int(self._policy.pull(self._arms, context=self._features(row)))

    def learn(self, row: int, arm: int, score: float) -> None:
        self._policy.update(arm, self._features(row), self.prepared.utility(arm, score))

    def _features(self, row: int) -> dict[int, float]:
        return dict(enumerate(self._x[row].tolist()))


POLICIES = {"river LinUCBDisjoint": River}
