"""banditd's own policies for the bench: the replay's in-process decider, and the conditions it is put under."""

from __future__ import annotations

from typing import Generic, TypeVar

import numpy as np

from banditd.bandit.policies.base import PolicySettings
from banditd.replay.decider import Decider, InProcessDecider, Row, Served, Terms
from banditd.replay.prices import Tariff
from bench.learning.prepared import Prepared

Inner = TypeVar("Inner", bound=Decider)


def in_process(prepared: Prepared, seed: int, settings: PolicySettings | None = None) -> InProcessDecider:
    """A policy from a cold start, as ``banditd replay`` builds it; the daemon's defaults unless given."""
    data = prepared.plan.data
    return InProcessDecider(
        schema=prepared.schema,
        settings=settings or PolicySettings(),
        arms=data.arms,
        contexts=prepared.contexts,
        seed=seed,
        tariff=Tariff.of_means(data.cost_usd.mean(axis=0), data.n_rows),
        terms=Terms(cost_weight=prepared.plan.options.cost_weight or 0.0),
    )


class AfterUniform:
    """Uniform play until scoring begins, whose rewards teach the policy that plays from then on."""

    def __init__(self, prepared: Prepared, seed: int) -> None:
        self._uniform = in_process(prepared, seed, PolicySettings(kind="uniform"))
        self._learner = in_process(prepared, seed)
        self._scoring = False

    @property
    def choose_us(self) -> list[float]:
        return self._learner.choose_us

    @property
    def update_us(self) -> list[float]:
        return self._learner.update_us

    async def decide(self, row: Row) -> Served:
        served = await self._learner.decide(row)
        if self._scoring:
            return served
        drawn = await self._uniform.decide(row)
        return Served(drawn.arm, served.token)  # the token says which query it was, not which arm

    async def reward(self, served: Served, *, reward: float | None, cost_usd: float) -> None:
        await self._learner.reward(served, reward=reward, cost_usd=cost_usd)

    async def begin_scoring(self) -> None:
        self._scoring = True
        self._learner.choose_us.clear()
        self._learner.update_us.clear()

    async def close(self) -> None:
        await self._uniform.close()
        await self._learner.close()


class Wrapped(Generic[Inner]):
    """A decider around another, whose times and end are the other's."""

    def __init__(self, inner: Inner) -> None:
        self._inner = inner

    @property
    def choose_us(self) -> list[float]:
        return self._inner.choose_us

    @property
    def update_us(self) -> list[float]:
        return self._inner.update_us

    async def begin_scoring(self) -> None:
        await self._inner.begin_scoring()

    async def close(self) -> None:
        await self._inner.close()


class Sparse(Wrapped[Decider]):
    """Any decider, told the rewards of a random share of the rows (the same rows for every policy)."""

    def __init__(self, inner: Decider, prepared: Prepared, seed: int, share: float) -> None:
        super().__init__(inner)
        self._told = np.random.default_rng([seed, 2]).random(prepared.plan.data.n_rows) < share

    async def decide(self, row: Row) -> Served:
        served = await self._inner.decide(row)
        return Served(served.arm, (row.index, served))

    async def reward(self, served: Served, *, reward: float | None, cost_usd: float) -> None:
        assert isinstance(served.token, tuple)  # made above
        index, inner = served.token
        await self._inner.reward(inner, reward=reward if self._told[index] else None, cost_usd=cost_usd)
