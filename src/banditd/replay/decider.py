"""Who decides in a replay: the daemon's own classes in process, or anything that fits ``Decider``.

A live daemon stands in by implementing ``Decider`` over HTTP. No scoring here.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter
from typing import Protocol

import numpy as np

from banditd.bandit.policies.base import ArmPrior, PolicySettings
from banditd.bandit.policies.exploration import least_shares
from banditd.bandit.posterior.prior import Prior
from banditd.bandit.state import PolicyState, Snapshot
from banditd.budget.guard import Paired
from banditd.core.types import Context, FeatureSchema, FloatArray, IntArray
from banditd.replay.purse import Offer, Purse
from banditd.services.policy import ONBOARDING_SHARE


@dataclass(frozen=True, slots=True)
class Row:
    """One query of a replay.

    index : into the data. prompt : its text. warmup_arm : the arm that was drawn for it in a randomised
    warm-up: it serves, there is nothing to choose; None elsewhere.
    """

    index: int
    prompt: str
    warmup_arm: int | None = None


@dataclass(frozen=True, slots=True)
class Served:
    """A decision.

    arm : index into the data's arms. token : whatever the decider needs to reward it. probability : the vector
    that the arm was drawn from, float64 (K,) over the data's arms, 0 where not eligible; None when it is unknown.
    """

    arm: int
    token: object
    probability: FloatArray | None = None


class Decider(Protocol):
    """Plays the rows in order. ``choose_us`` and ``update_us`` collect its times, in microseconds."""

    choose_us: list[float]
    update_us: list[float]

    async def decide(self, row: Row) -> Served:
        """Choose an arm for one query; one with a ``warmup_arm`` is served by that."""

    async def reward(self, served: Served, *, reward: float | None, cost_usd: float, weight: float = 1.0) -> None:
        """Tell the outcome: the reward (None when it is missing), what the call cost, and the precision weight
        of the reward. The weight is passed only where it is not 1, which needs simulated sources of feedback.
        """

    async def begin_scoring(self) -> None:
        """The warm-up is over: what is spent from now on counts."""

    async def close(self) -> None:
        """Let go of everything."""


@dataclass(frozen=True, slots=True)
class _Token:
    row: int
    epoch: int
    reserved_usd: float
    paired: Paired | None = None
    index: int = 0  # of the arm among those that could be paid for


class InProcessDecider:
    """The learner, the snapshot and the pacer of the daemon, without HTTP and database.

    contexts : one per row of the data. known_penalty : float64 (K,), price of money known in advance, or
    None when a budget rules. prior_cost_usd : float64 (n, K), costs by list price, NaN where there is none;
    mean_cost_usd : float64 (K,), for the floors, or None when it is not known in advance. absent : indices of
    arms that are not there yet (``add_arm``).
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
        absent: frozenset[int] = frozenset(),
    ) -> None:
        self.choose_us: list[float] = []
        self.update_us: list[float] = []
        self.tune_us: list[float] = []
        self._arms = arms
        self._contexts = contexts
        self._settings = settings
        self._generator = np.random.default_rng([seed, 1])
        known = mean_cost_usd if mean_cost_usd is not None else prior_cost_usd.mean(axis=0)
        self._priors = [
            ArmPrior(arm, cost_usd=float(cost) if np.isfinite(cost) else None)
            for arm, cost in zip(arms, known, strict=True)
        ]
        self._columns = np.array([i for i in range(len(arms)) if i not in absent], dtype=np.intp)
        self._enabled = np.ones(len(arms), dtype=bool)
        self._granted: dict[int, int] = {}  # decisions that new arms are still to be given
        self.state = PolicyState(schema=schema, settings=settings, arms=[self._priors[i] for i in self._columns])
        self._penalty = known_penalty
        self._known_cost = mean_cost_usd
        self._purse = None
        if budget_usd is not None:
            self._purse = Purse(budget_usd, prior_cost_usd, np.stack([context.x for context in contexts]))

    def add_arm(self, arm: int, *, onboarding_decisions: int = 20) -> None:
        """A new arm: at its disposal from now on, and granted a share of the traffic for its first decisions."""
        self._columns = np.append(self._columns, arm)
        self._granted[arm] = onboarding_decisions
        self.state.set_arms([self._priors[i] for i in self._columns])

    def enable_arm(self, arm: int, *, enabled: bool) -> None:
        """Switch an arm off or on; what it has learned stays."""
        self._enabled[arm] = enabled

    def change_prices(self, factor: FloatArray) -> None:
        """List prices are now so many times what they were, float64 (K,); in force from the next decision on."""
        if self._purse is not None:
            self._purse.change_prices(factor)

    async def decide(self, row: Row) -> Served:
        snapshot = self.state.snapshot()
        if row.warmup_arm is not None:
            return self._serve(row, row.warmup_arm, snapshot.epoch)
        context = self._contexts[row.index]
        started = perf_counter()
        everyone = np.flatnonzero(self._enabled[self._columns])
        arms, offer = everyone, None
        if self._purse is not None:
            offer = self._purse.offer(row.index, self._columns[everyone])
            arms = everyone[offer.affordable]
        columns = self._columns[arms]
        cost, penalty = self._money(offer, columns)
        floors = self._floors(snapshot, arms, columns, cost)
        blend = None if self._purse is None or offer is None else self._purse.blend(offer)
        uniform = float(self._generator.random())
        choice = snapshot.choose(context, arms=arms, penalty=penalty, floors=floors, uniform=uniform, blend=blend)
        self.choose_us.append(1e6 * (perf_counter() - started))
        reserved = 0.0
        if self._purse is not None and offer is not None:
            reserved = float(cost[choice.index])
            mean = choice.mean if offer.affordable.all() else snapshot.predict(context, everyone)[0]
            self._purse.charge(offer, mean, choice.probability, reserved)
        paired = None if blend is None else Paired.of(blend, choice.probability, choice.mean, penalty)
        arm = int(columns[choice.index])
        if arm in self._granted:
            self._granted[arm] -= 1
        logged = np.zeros(len(self._arms))
        logged[columns] = choice.probability
        return Served(arm, _Token(row.index, snapshot.epoch, reserved, paired, choice.index), logged)

    def _money(self, offer: Offer | None, columns: IntArray) -> tuple[FloatArray, FloatArray]:
        """(expected cost in dollars, what it takes off the reward) of the arms to choose from."""
        if self._purse is not None and offer is not None:
            cost = offer.cost_usd[offer.affordable]
            return cost, self._purse.pacer.price_per_usd * cost
        none = np.zeros(columns.shape[0])
        return (
            none if self._known_cost is None else self._known_cost[columns],
            none if self._penalty is None else self._penalty[columns],
        )

    def _floors(self, snapshot: Snapshot, arms: IntArray, columns: IntArray, cost_usd: FloatArray) -> FloatArray:
        """Least probabilities, as routing has them: exploration, probes of changed arms, grants of new ones."""
        probes = None if snapshot.probe_share is None else snapshot.probe_share[arms]
        floors = least_shares(cost_usd, self._settings.floor, probes)
        for position, arm in enumerate(columns.tolist()):
            if self._granted.get(arm, 0) > 0:
                floors[position] = max(floors[position], ONBOARDING_SHARE)
        if self._purse is None:
            return floors
        # Probes are short and dear arms' are rare already: cut further, a recovery would be found too late.
        return np.maximum(self._purse.pacer.floors(floors, cost_usd), least_shares(cost_usd, 0.0, probes))

    def _serve(self, row: Row, arm: int, epoch: int) -> Served:
        """A decision that was made elsewhere; its cost is reserved like that of any other."""
        reserved = 0.0 if self._purse is None else self._purse.reserve(row.index, arm)
        return Served(arm, _Token(row.index, epoch, reserved))

    async def reward(self, served: Served, *, reward: float | None, cost_usd: float, weight: float = 1.0) -> None:
        token = served.token
        assert isinstance(token, _Token)  # noqa: S101  (made above)
        if self._purse is not None:
            self._purse.settle(token.row, served.arm, token.reserved_usd, cost_usd)
        if reward is None:
            return
        if self._purse is not None and token.paired is not None:
            self._purse.guard.learn(token.paired.difference(token.index, reward))
        started = perf_counter()
        self.state.fold(
            arm=self._arms[served.arm],
            epoch=token.epoch,
            x=self._contexts[token.row].x,
            weight=weight,
            reward=reward,
        )
        self.state.snapshot()
        self.update_us.append(1e6 * (perf_counter() - started))
        if self.state.tune_due():
            started = perf_counter()
            self.state.adopt(self.state.tuning().run())
            self.tune_us.append(1e6 * (perf_counter() - started))

    def prior(self, source: str) -> Prior:
        """What was learned so far, for another start."""
        return self.state.to_prior(source)

    async def begin_scoring(self) -> None:
        if self._purse is not None:
            self._purse.pacer.open_account()

    async def close(self) -> None:
        """Nothing is held."""
