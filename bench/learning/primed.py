"""A warm start from an evaluation: what ``banditd fit-prior`` makes of the first tenth of the rows."""

from __future__ import annotations

from banditd.bandit.policies.base import PolicySettings
from banditd.replay.decider import InProcessDecider, Row, Served
from banditd.replay.evaluation import evaluation_prior
from bench.learning.own import Wrapped, in_process
from bench.learning.prepared import Prepared


class AfterEvaluation(Wrapped[InProcessDecider]):
    """The policy, started from a prior file of default worth; the rows it was made of are passed over."""

    def __init__(self, prepared: Prepared, seed: int) -> None:
        rows, _ = prepared.with_options(first_tenth=True).order(seed)
        prior = evaluation_prior(
            prepared.plan.data.take(rows),
            prepared.schema,
            [prepared.contexts[row] for row in rows.tolist()],
            source="the first tenth of the rows",
        )
        super().__init__(in_process(prepared, seed, PolicySettings(prior=prior.rescaled())))
        self._scoring = False

    async def decide(self, row: Row) -> Served:
        return await self._inner.decide(row) if self._scoring else Served(0, None)

    async def reward(self, served: Served, *, reward: float | None, cost_usd: float) -> None:
        if self._scoring:
            await self._inner.reward(served, reward=reward, cost_usd=cost_usd)

    async def begin_scoring(self) -> None:
        self._scoring = True
        await super().begin_scoring()
