"""mabwiser's LinUCB and LinTS with their defaults (alpha 1, l2_lambda 1), updated after every reward.

They take one reward and know nothing of money: they learn the utility, score - penalty. mabwiser refuses to
predict before it was fitted, so the first query goes to an arm at random. On four cases LinUCB did better with
banditd's 64 features (.50 against .47, whole run), LinTS with PCA-25 + bias (.28 against .26).
"""

from __future__ import annotations

from functools import partial

from bench.learning.peers.base import Peer
from bench.learning.prepared import Prepared

PACKAGE = "mabwiser"


class MABWiser(Peer):
    def __init__(self, prepared: Prepared, seed: int, *, policy: str, features: str) -> None:
        from mabwiser.mab import MAB, LearningPolicy

        super().__init__(prepared, seed)
        self._x = prepared.pca25 if features == "pca25" else prepared.x64
        self._mab = MAB(
            arms=list(range(prepared.n_arms)), learning_policy=getattr(LearningPolicy, policy)(), seed=seed
        )
        self._fitted = False

    def choose(self, row: int) -> int:
        if not self._fitted:
            return int(self.generator.integers(self.prepared.n_arms))
        return int(self._mab.predict(self._x[row : row + 1]))

    def learn(self, row: int, arm: int, score: float) -> None:
        fit = self._mab.partial_fit if self._fitted else self._mab.fit
        fit([arm], [self.prepared.utility(arm, score)], self._x[row : row + 1])
        self._fitted = True


POLICIES = {
    "mabwiser LinUCB": partial(MABWiser, policy="LinUCB", features="x64"),
    "mabwiser LinTS": partial(MABWiser, policy="LinTS", features="pca25"),
}
SLOW = frozenset(POLICIES)  # some two milliseconds a row: fewer shuffles
