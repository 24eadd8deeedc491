"""How much there is to be gained: policies told more than a router ever is, or scored without their exploration.

*Every arm's score is told* and *scales known in advance* know what no router can. *Scored at its highest mean* is
told no more than thompson; only the queries that it spends on exploring are not counted against it.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from banditd.bandit.policies.base import PolicySettings
from banditd.bandit.posterior.hyperparameters import Hyperparameters
from banditd.replay.decider import InProcessDecider, Row, Served
from banditd.replay.evaluation import evaluation_prior
from bench.learning.own import Wrapped, in_process
from bench.learning.prepared import Prepared


class _Told(Wrapped[InProcessDecider]):
    """A decider around banditd's own, which knows the outcomes."""

    def __init__(self, prepared: Prepared, inner: InProcessDecider) -> None:
        super().__init__(inner)
        self._score = prepared.plan.data.score
        self._cost_usd = prepared.plan.data.cost_usd

    async def _tell(self, served: Served, row: int, arm: int) -> None:
        score = float(self._score[row, arm])
        reward = score if np.isfinite(score) else None
        await self._inner.reward(Served(arm, served.token), reward=reward, cost_usd=float(self._cost_usd[row, arm]))


class _ScoredAtHighestMean(_Told):
    """Scored at the arm of the highest mean utility; a token is (row, what the policy itself drew)."""

    def __init__(self, prepared: Prepared, inner: InProcessDecider) -> None:
        super().__init__(prepared, inner)
        self._contexts, self._penalty = prepared.contexts, prepared.penalty

    async def decide(self, row: Row) -> Served:
        mean = self._inner.state.snapshot().predict(self._contexts[row.index].x[None, :])[0][0]
        drawn = await self._inner.decide(row)
        return Served(int((mean - self._penalty).argmax()), (row.index, drawn))


class FullInformation(_ScoredAtHighestMean):
    """After each query the score of every arm is told, not of the chosen one alone.

    Exploring buys nothing then, and nothing changes in a shuffled replay that detection could find.
    """

    def __init__(self, prepared: Prepared, seed: int) -> None:
        super().__init__(prepared, in_process(prepared, seed, PolicySettings(change_detection=False)))

    async def reward(self, served: Served, *, reward: float | None, cost_usd: float) -> None:
        assert isinstance(served.token, tuple)  # made above
        index, drawn = served.token
        for arm in range(self._score.shape[1]):
            await self._tell(drawn, index, arm)


class NoExploration(_ScoredAtHighestMean):
    """Learns from the arm that the policy draws, and from no other."""

    def __init__(self, prepared: Prepared, seed: int) -> None:
        super().__init__(prepared, in_process(prepared, seed))

    async def reward(self, served: Served, *, reward: float | None, cost_usd: float) -> None:
        assert isinstance(served.token, tuple)  # made above
        index, drawn = served.token
        await self._tell(drawn, index, drawn.arm)


def known_scales(prepared: Prepared, seed: int) -> InProcessDecider:
    """The policy with scales and noise that were fitted beforehand to every arm's score on every row."""
    decider = in_process(prepared, seed, PolicySettings(tune=False))
    decider.state.adopt(_fitted(prepared))
    return decider


@lru_cache(maxsize=2)
def _fitted(prepared: Prepared) -> Hyperparameters:
    prior = evaluation_prior(prepared.plan.data, prepared.schema, prepared.contexts, source="every score")
    return Hyperparameters.from_json(prior.hyperparameters, prepared.schema)
