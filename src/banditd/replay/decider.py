"""Who decides in a replay: the daemon's own classes in process, or anything that fits ``Decider``.

A live daemon stands in by implementing ``Decider`` over HTTP. No scoring here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Final, Protocol

import numpy as np

from banditd.bandit.policies.base import ArmPrior, PolicySettings
from banditd.bandit.posterior.prior import Prior
from banditd.bandit.snapshot import Snapshot
from banditd.bandit.state import PolicyState
from banditd.core.types import Arm, ArmUsage, Context, FeatureSchema, FloatArray, Query
from banditd.deciding.decide import Case, Decided, Situation, decide
from banditd.deciding.view import RouteView, build_view, is_onboarding
from banditd.ope.reference import Verdict
from banditd.replay.amounts import LearnedAmounts
from banditd.replay.prices import OUTPUT_TOKENS, Tariff, scaled_price
from banditd.replay.promise import Promised, ReplayPromise
from banditd.replay.spending import Charges, Spending
from banditd.services.eligibility import TrafficCaps

POLICY: Final = "replay"


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

    async def reward_others(self, served: Served, rewards: Mapping[int, float]) -> None:
        """Report what arms that did not serve would have earned, by index; only where the options ask for probes."""

    async def begin_scoring(self) -> None:
        """The warm-up is over: what is spent from now on counts."""

    async def close(self) -> None:
        """Let go of everything."""


@dataclass(frozen=True, slots=True)
class _Token:
    row: int
    epoch: int
    decided_at_us: int
    charges: Charges
    promised: Promised | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a run costs and must hold.

    cost_weight : of the dearest arm's cost, in rewards. budget_usd : mean spend per decision to hold, or None.
    promise : to be kept, or None. max_shares : caps on the arms' shares of the decisions, by name.
    """

    cost_weight: float = 0.0
    budget_usd: float | None = None
    promise: ReplayPromise | None = None
    max_shares: Mapping[str, float] = field(default_factory=dict)


_FREE: Final = Terms()


class InProcessDecider:
    """The daemon's decision, learner and budgets, without HTTP and database.

    contexts : one per row of the data. tariff : what is told of costs in advance. absent : indices of arms that are
    not there yet (``add_arm``).
    """

    def __init__(
        self,
        *,
        schema: FeatureSchema,
        settings: PolicySettings,
        arms: tuple[str, ...],
        contexts: list[Context],
        seed: int,
        tariff: Tariff,
        terms: Terms = _FREE,
        absent: frozenset[int] = frozenset(),
    ) -> None:
        self.choose_us: list[float] = []
        self.update_us: list[float] = []
        self.tune_us: list[float] = []
        self._names = arms
        self._contexts = contexts
        self._settings = settings
        self._cost_weight = terms.cost_weight
        self._input_tokens = tariff.input_tokens
        self._generator = np.random.default_rng([seed, 1])
        self._recipes = tariff.recipe_prices()
        self._n_models = len(arms) if tariff.recipes is None else len(tariff.recipes.models)
        self._priors = [
            ArmPrior(arm, cost_usd=tariff.mean_cost_usd(i), quality_tier=tariff.tier(arm), like=tariff.like(arm))
            for i, arm in enumerate(arms)
        ]
        self._arms = [
            Arm(
                policy=POLICY,
                arm=arm,
                upstream_model=arm,
                price=price,
                expected_output_tokens=OUTPUT_TOKENS,
                max_share=terms.max_shares.get(arm, 1.0),
            )
            for arm, price in zip(arms, tariff.prices, strict=True)
        ]
        self._present = [i for i in range(len(arms)) if i not in absent]
        self._decisions: dict[str, int] = {}  # of arms that came later
        self._view: RouteView | None = None  # None: to be built anew
        self.state = PolicyState(schema=schema, settings=settings, arms=[self._priors[i] for i in self._present])
        self._spending = None if terms.budget_usd is None else Spending(terms.budget_usd)
        self._promise = terms.promise
        # A cost weight refers to mean costs; what is paid in dollars counts as the queries differ.
        self._amounts = None if terms.budget_usd is None and terms.promise is None else LearnedAmounts(schema)
        self._now_us = 0  # decisions before this one
        self._caps = TrafficCaps()

    def add_arm(self, arm: int, *, onboarding_decisions: int = 20) -> None:
        """A new arm: at its disposal from now on, and granted a share of the traffic for its first decisions."""
        self._present.append(arm)
        self._change(arm, created_at_us=1, onboarding_decisions=onboarding_decisions)
        self._decisions[self._names[arm]] = 0
        self.state.set_arms([self._priors[i] for i in self._present])

    def enable_arm(self, arm: int, *, enabled: bool) -> None:
        """Switch an arm off or on; what it has learned stays."""
        self._change(arm, enabled=enabled)

    def change_prices(self, factor: FloatArray) -> None:
        """List prices are now so many times what they were, float64 (K,); in force from the next decision on."""
        for arm, by in enumerate(factor.tolist()):
            self._change(arm, price=scaled_price(self._arms[arm].price, by))

    def _change(self, arm: int, **fields: object) -> None:
        self._arms[arm] = replace(self._arms[arm], **fields)  # type: ignore[arg-type]
        self._view = None

    async def decide(self, row: Row, prospects: FloatArray | None = None) -> Served:
        """Choose; ``prospects`` are those of ``Case``."""
        snapshot = self.state.snapshot()
        if row.warmup_arm is not None:
            return await self._serve(row, row.warmup_arm, snapshot)
        context, uniform = self._contexts[row.index], self._generator.random(1)
        started = perf_counter()
        view = self._newest(snapshot)
        accounts = () if self._spending is None else await self._spending.accounts(view, self._now_us)
        case = Case(
            query=Query(policy=POLICY),
            context=context,
            input_tokens=float(self._input_tokens[row.index]),
            accounts=accounts,
            pledge=None if self._promise is None else self._promise.pledge,
            prospects=prospects,
            call_price=self._caps.prices(view),
        )
        situation = Situation(
            view=view,
            now_us=0,
            exploration_floor=self._settings.floor,
            cost_weight=self._cost_weight,
            soft=self._caps.exclusions(view),
        )
        decided = decide(situation, [case], uniform)
        self.choose_us.append(1e6 * (perf_counter() - started))
        for error in decided.refused.values():
            raise error
        self._caps.observe(view, decided, 0)
        self._caps.count(view, view.snapshot.arms[int(decided.draw.index[0])])
        charges = () if self._spending is None else self._spending.charge(view, case, decided, self._now_us)
        promised = None if self._promise is None else self._promise.observe(case, decided, snapshot.posterior)
        return self._served(row, view, decided, charges, promised)

    def context(self, row: Row) -> Context:
        """What is known of a query before anybody answers."""
        return self._contexts[row.index]

    def expected(self, row: Row) -> tuple[FloatArray, FloatArray]:
        """(expected reward, standard deviation) of every arm on a query, float64 (K,) each."""
        mean, deviation = self.state.snapshot().predict(self._contexts[row.index].x[None])
        return mean[0], deviation[0]

    def vector(self, row: Row) -> FloatArray:
        """What an arm would be drawn from now by plain routing, float64 (K,). Nothing is drawn or counted."""
        view = self._newest(self.state.snapshot())
        tokens = float(self._input_tokens[row.index])
        case = Case(query=Query(policy=POLICY), context=self._contexts[row.index], input_tokens=tokens)
        situation = Situation(
            view=view, now_us=0, exploration_floor=self._settings.floor, cost_weight=self._cost_weight
        )
        found: FloatArray = decide(situation, [case], np.zeros(1)).draw.probability[0]
        return found

    def _newest(self, snapshot: Snapshot) -> RouteView:
        """The view of the newest snapshot; built anew only where more than that has changed."""
        if self._view is None:
            usage = {arm: ArmUsage(arm=arm, decisions=n) for arm, n in self._decisions.items()}
            amounts = None if self._amounts is None else self._amounts.amounts
            view = build_view(snapshot, [self._arms[i] for i in self._present], usage, amounts)
            self._view = view if self._recipes is None else self._scaled_by_models(view)
            if self._amounts is not None:
                self._amounts.follow_prices(view.arms, self._now_us)
        else:
            self._view = self._view.with_snapshot(snapshot)
        return self._view

    def _scaled_by_models(self, view: RouteView) -> RouteView:
        """Cost weights refer to the dearest model, whatever recipes there are."""
        typical_usd = view.cost_usd(view.typical_input_tokens, view.output_tokens[None, :])[0]
        return replace(view, cost_scale_usd=float(typical_usd[: self._n_models].max()))

    def _served(
        self, row: Row, view: RouteView, decided: Decided, charges: Charges, promised: Promised | None
    ) -> Served:
        chosen = self._present[int(decided.draw.index[0])]
        name = self._names[chosen]
        if name in self._decisions:
            usage = ArmUsage(arm=name, decisions=self._decisions[name])
            self._decisions[name] += 1
            if is_onboarding(self._arms[chosen], usage, 0):
                self._view = None
        logged = np.zeros(len(self._names))
        logged[self._present] = decided.draw.probability[0]
        return Served(chosen, self._token(row, view.snapshot, charges, promised), logged)

    def _token(self, row: Row, snapshot: Snapshot, charges: Charges, promised: Promised | None = None) -> _Token:
        self._now_us += 1
        return _Token(row.index, snapshot.epoch, self._now_us - 1, charges, promised)

    async def _serve(self, row: Row, arm: int, snapshot: Snapshot) -> Served:
        """A decision that was made elsewhere; its cost is reserved like that of any other."""
        if self._spending is None:
            return Served(arm, self._token(row, snapshot, ()))
        view, place = self._newest(snapshot), self._present.index(arm)
        context, tokens = self._contexts[row.index], float(self._input_tokens[row.index])
        charges = await self._spending.charge_elsewhere(view, place, context, tokens, self._now_us)
        return Served(arm, self._token(row, snapshot, charges))

    async def reward(self, served: Served, *, reward: float | None, cost_usd: float, weight: float = 1.0) -> None:
        token = served.token
        assert isinstance(token, _Token)  # noqa: S101  (made above)
        if self._spending is not None:
            self._spending.settle(token.charges, cost_usd)
        if self._amounts is not None and self._amounts.report(
            self._arms[served.arm],
            self._contexts[token.row].x,
            arms=[self._arms[i] for i in self._present],
            decided_at_us=token.decided_at_us,
            input_tokens=float(self._input_tokens[token.row]),
            cost_usd=cost_usd,
        ):
            self._view = None
        if self._recipes is not None and self._recipes.observe(served.arm, token.row):
            for arm, price in enumerate(self._recipes.prices, start=self._n_models):
                self._change(arm, price=price)
        if reward is None:
            return
        started = perf_counter()
        self.state.fold(
            arm=self._names[served.arm],
            epoch=token.epoch,
            x=self._contexts[token.row].x,
            weight=weight,
            reward=reward,
        )
        self.state.snapshot()
        self.update_us.append(1e6 * (perf_counter() - started))
        if self._promise is not None and token.promised is not None:
            self._promise.learn(token.promised, reward)
        self._tune()

    async def reward_others(self, served: Served, rewards: Mapping[int, float]) -> None:
        token = served.token
        assert isinstance(token, _Token)  # noqa: S101  (made above)
        x = self._contexts[token.row].x
        for arm, reward in rewards.items():
            self.state.fold(
                arm=self._names[arm], epoch=token.epoch, x=x, weight=1.0, reward=reward, first=False, served=False
            )
        self._tune()

    def _tune(self) -> None:
        if self.state.tune_due():
            started = perf_counter()
            self.state.adopt(self.state.tuning().run())
            self.tune_us.append(1e6 * (perf_counter() - started))

    def prior(self, source: str) -> Prior:
        """What was learned so far, for another start."""
        return self.state.to_prior(source)

    def verdict(self) -> Verdict | None:
        """What was kept of the baseline's quality, None without a promise."""
        return None if self._promise is None else self._promise.verdict()

    async def begin_scoring(self) -> None:
        if self._spending is not None:
            self._spending.begin()

    async def close(self) -> None:
        """Nothing is held."""
