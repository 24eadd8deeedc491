"""Who decides in a replay: the daemon's own classes in process, or anything that fits ``Decider``.

A live daemon stands in by implementing ``Decider`` over HTTP. No scoring here.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter
from typing import Protocol

import numpy as np

from banditd.bandit.base import ArmPrior, PolicySettings
from banditd.bandit.exploration import least_shares
from banditd.bandit.state import PolicyState
from banditd.budget.pacer import Pacer
from banditd.core.types import Context, FeatureSchema, FloatArray
from banditd.replay.costs import CostBook


@dataclass(frozen=True, slots=True)
class Row:
    """One query of a replay. index : into the data. prompt : its text."""

    index: int
    prompt: str


@dataclass(frozen=True, slots=True)
class Served:
    """A decision. arm : index into the data's arms. token : whatever the decider needs to reward it."""

    arm: int
    token: object


class Decider(Protocol):
    """Plays the rows in order. ``choose_us`` and ``update_us`` collect its times, in microseconds."""

    choose_us: list[float]
    update_us: list[float]

    async def decide(self, row: Row) -> Served:
        """Choose an arm for one query."""

    async def reward(self, served: Served, *, reward: float | None, cost_usd: float) -> None:
        """Tell the outcome: the reward (None when it is missing) and what the call cost."""

    async def begin_scoring(self) -> None:
        """The warm-up is over: what is spent from now on counts."""

    async def close(self) -> None:
        """Let go of everything."""


@dataclass(frozen=True, slots=True)
class _Token:
    row: int
    epoch: int
    reserved_usd: float


class InProcessDecider:
    """The learner, the snapshot and the pacer of the daemon, without HTTP and database.

    contexts : one per row of the data. known_penalty : float64 (K,), price of money known in advance, or
    None when a budget rules. prior_cost_usd : float64 (n, K), costs by list price, NaN where there is none;
    mean_cost_usd : float64 (K,), for the floors, or None when it is not known in advance.
    """

    def __init__(
        self,
        *,
        schema: FeatureSchema,
        settings: PolicySettings,
        arms: tuple[str, ...],
        contexts: list[Context],
        seed: int,
        known_penalty: FloatArray | None,
        mean_cost_usd: FloatArray | None,
        budget_usd: float | None,
        prior_cost_usd: FloatArray,
    ) -> None:
        self.choose_us: list[float] = []
        self.update_us: list[float] = []
        self.tune_us: list[float] = []
        self._arms = arms
        self._contexts = contexts
        self._settings = settings
        self._generator = np.random.default_rng([seed, 1])
        known = mean_cost_usd if mean_cost_usd is not None else prior_cost_usd.mean(axis=0)
        priors = [
            ArmPrior(arm, cost_usd=float(cost) if np.isfinite(cost) else None)
            for arm, cost in zip(arms, known, strict=True)
        ]
        self._state = PolicyState(schema=schema, settings=settings, arms=priors)
        self._everyone = np.arange(len(arms), dtype=np.intp)
        self._penalty = known_penalty
        self._known_cost = mean_cost_usd
        self._budget_usd = budget_usd
        self._pacer = None if budget_usd is None else Pacer(budget_usd)
        self._costs = CostBook(prior_cost_usd, fallback_usd=budget_usd or 0.0)

    async def decide(self, row: Row) -> Served:
        snapshot = self._state.snapshot()
        context = self._contexts[row.index]
        started = perf_counter()
        arms, cost, predicted = self._everyone, self._known_cost, np.zeros(0)
        if self._pacer is not None:
            predicted = self._costs.predict(row.index)
            arms = np.flatnonzero(self._pacer.mask(predicted))
            cost = predicted[arms]
            penalty = self._pacer.price_per_usd * cost
        else:
            penalty = np.zeros(len(arms)) if self._penalty is None else self._penalty
        probes = None if snapshot.probe_share is None else snapshot.probe_share[arms]
        floors = least_shares(np.zeros(len(arms)) if cost is None else cost, self._settings.floor, probes)
        choice = snapshot.choose(
            context, arms=arms, penalty=penalty, floors=floors, uniform=float(self._generator.random())
        )
        self.choose_us.append(1e6 * (perf_counter() - started))
        reserved = 0.0
        if self._pacer is not None and cost is not None:
            reserved = float(cost[choice.index])
            mean = choice.mean
            if arms.shape[0] < len(self._arms):
                mean, _ = snapshot.predict(context, self._everyone)
            self._pacer.observe(mean, predicted)
            self._pacer.reserve(reserved)
        return Served(int(arms[choice.index]), _Token(row.index, snapshot.epoch, reserved))

    async def reward(self, served: Served, *, reward: float | None, cost_usd: float) -> None:
        token = served.token
        assert isinstance(token, _Token)  # noqa: S101  (made above)
        if self._pacer is not None:
            self._costs.learn(token.row, served.arm, cost_usd)
            self._pacer.settle(token.reserved_usd, cost_usd)
        if reward is None:
            return
        started = perf_counter()
        self._state.fold(
            arm=self._arms[served.arm],
            epoch=token.epoch,
            x=self._contexts[token.row].x,
            weight=1.0,
            reward=reward,
        )
        self._state.snapshot()
        self.update_us.append(1e6 * (perf_counter() - started))
        if self._state.tune_due():
            started = perf_counter()
            self._state.adopt(self._state.tuning().run())
            self.tune_us.append(1e6 * (perf_counter() - started))

    async def begin_scoring(self) -> None:
        if self._budget_usd is not None:
            self._pacer = Pacer(self._budget_usd)

    async def close(self) -> None:
        """Nothing is held."""
