"""contextualbandits' LinUCB and BootstrappedTS, as its documentation and example notebooks set them.

LinUCB: its docstring advises a beta prior instead of ``ucb_from_empty`` and a smaller alpha; the notebooks take
0.1; it learns after each reward. BootstrappedTS: logistic regression, 10 bootstrap samples, beta prior; it keeps no
sums and is fitted anew to the whole log every 100 rewards (the notebooks do so every 50).
Rewards are the utility scaled into [0, 1], made 0 or 1 with that probability: BootstrappedTS takes nothing else,
and the beta prior ends for an arm only when it has seen rewards of 0, which graded ones never are. LinUCB with
graded rewards was tried with ucb_from_empty, smoothing (1, 2) and neither: all worse. The median update time of
BootstrappedTS is that of the rows without a fit. Both did better with banditd's
64 features than with PCA-25 (LinUCB .59 against .52, mean of three cases, whole run).
"""

from __future__ import annotations

import numpy as np

from banditd.core.types import FloatArray
from banditd.replay.decider import Row, Served
from bench.learning.peers.base import Peer
from bench.learning.prepared import Prepared

PACKAGE = "contextualbandits"
REFIT_EVERY = 100


class LinUCB(Peer):
    def __init__(self, prepared: Prepared, seed: int) -> None:
        from contextualbandits.online import LinUCB as Policy

        super().__init__(prepared, seed)
        self._x = _columns(prepared)
        self._policy = Policy(
            nchoices=prepared.n_arms, alpha=0.1, ucb_from_empty=False, beta_prior="auto", random_state=seed + 1
        )

    def choose(self, row: int) -> int:
        return int(self._policy.predict(self._x[row : row + 1])[0])

    def learn(self, row: int, arm: int, score: float) -> None:
        won = self.generator.random() < self.prepared.unit_utility(arm, score)
        self._policy.partial_fit(self._x[row : row + 1], np.array([arm]), np.array([float(won)]))


class BootstrappedTS(Peer):
    """Between two fits it does not change, so it is asked for every row of the data at once after each fit (each
    row gets a draw of its own): one answer takes some 30 ms of Python. One single call per fit is timed."""

    def __init__(self, prepared: Prepared, seed: int) -> None:
        from contextualbandits.online import BootstrappedTS as Policy
        from sklearn.linear_model import LogisticRegression

        super().__init__(prepared, seed)
        self._x = _columns(prepared)
        self._policy = Policy(
            LogisticRegression(), nchoices=prepared.n_arms, beta_prior="auto", random_state=seed + 1
        )
        self._log: list[tuple[int, int, float]] = []
        self._answers: np.ndarray | None = None

    def choose(self, row: int) -> int:
        return int(self._policy.predict(self._x[row : row + 1])[0])

    async def decide(self, row: Row) -> Served:
        if self._answers is None:
            served = await super().decide(row)
            self._answers = np.asarray(self._policy.predict(self._x), dtype=np.intp)
            return served
        return Served(int(self._answers[row.index]), row.index)

    def learn(self, row: int, arm: int, score: float) -> None:
        won = self.generator.random() < self.prepared.unit_utility(arm, score)
        self._log.append((row, arm, float(won)))
        if len(self._log) % REFIT_EVERY == 0:
            rows, arms, rewards = (np.array(part) for part in zip(*self._log, strict=True))
            self._policy.fit(self._x[rows], arms, rewards)
            self._answers = None


def _columns(prepared: Prepared) -> FloatArray:
    """Without the bias in column 0: its models have an intercept."""
    return np.ascontiguousarray(prepared.x64[:, 1:])


POLICIES = {"contextualbandits LinUCB": LinUCB, "contextualbandits BootstrappedTS": BootstrappedTS}
SLOW = frozenset({"contextualbandits BootstrappedTS"})
