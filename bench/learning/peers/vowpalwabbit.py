"""Vowpal Wabbit's cb_explore_adf: SquareCB, RegCB and epsilon-greedy, with VW's defaults and -q UA.

Cost is 1 - utility scaled into [0, 1], as SquareCB and RegCB want it (cb_min_cost 0, cb_max_cost 1). The arm is
drawn from the probabilities that VW returns, and those are given back with the cost. Features: the context in
namespace U, the arm in A, and their products (-q UA), as in VW's own tutorials. banditd's 64 features served it
better than PCA-25 on four cases (SquareCB .63 against .61, whole run). RegCB's default mellowness, .1, never stops
exploring at these lengths; .001 with the optimistic variant is in the grid of the bake-off (1802.04064) and by far
its best setting here, so it has a row of its own.
"""

from __future__ import annotations

from functools import partial

from bench.learning.peers.base import Peer
from bench.learning.prepared import Prepared

PACKAGE = "vowpalwabbit"


class VowpalWabbit(Peer):
    def __init__(self, prepared: Prepared, seed: int, *, flags: str) -> None:
        from vowpalwabbit import Workspace

        super().__init__(prepared, seed)
        self._x = prepared.x64
        self._vw = Workspace(f"--cb_explore_adf {flags} -q UA --random_seed {seed} --quiet")
        self._arms = [f"|A arm{arm}" for arm in range(prepared.n_arms)]
        self._drawn: dict[int, float] = {}

    def choose(self, row: int) -> int:
        chances = self._vw.predict([self._shared(row), *self._arms])
        at, arm = self.generator.random() * sum(chances), 0
        for arm, chance in enumerate(chances):  # noqa: B007
            at -= chance
            if at < 0.0:
                break
        self._drawn[row] = chances[arm]
        return arm

    def learn(self, row: int, arm: int, score: float) -> None:
        cost = 1.0 - self.prepared.unit_utility(arm, score)
        lines = [self._shared(row), *self._arms]
        lines[arm + 1] = f"0:{cost:.6f}:{max(self._drawn.pop(row), 1e-6):.6f} {self._arms[arm]}"
        self._vw.learn(lines)

    def _shared(self, row: int) -> str:
        """VW adds its own constant, so the bias in column 0 is left out; so are zeros."""
        values = self._x[row].tolist()
        return "shared |U " + " ".join(f"{i}:{value:.5g}" for i, value in enumerate(values[1:]) if value)

    async def close(self) -> None:
        self._vw.finish()


POLICIES = {
    "Vowpal Wabbit squarecb": partial(VowpalWabbit, flags="--squarecb"),
    "Vowpal Wabbit regcb": partial(VowpalWabbit, flags="--regcb"),
    "Vowpal Wabbit regcbopt, mellowness .001": partial(VowpalWabbit, flags="--regcb --regcbopt --mellowness 0.001"),
    "Vowpal Wabbit epsilon .05": partial(VowpalWabbit, flags="--epsilon 0.05"),
}
