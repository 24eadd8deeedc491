"""Chains in a replay: after an answer its signals are seen, and it is kept or another arm is called.

First arms are drawn by the daemon's own decision (``InProcessDecider``), keeping and calling by ``deciding.chains``.
A chain has one reward, the score of the answer that is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from banditd.bandit.policies.base import ArmPrior
from banditd.core.errors import InvariantError
from banditd.core.types import FeatureSchema, FloatArray, IntArray
from banditd.deciding.chains.guard import Guard
from banditd.deciding.chains.hand import Answer, Hand
from banditd.deciding.chains.learner import Action, ChainLearner, Move, Prices
from banditd.replay.chain_signals import ChainSignals
from banditd.replay.decider import InProcessDecider, Row, Served
from banditd.replay.plan import ChainRun, Plan, SeedRun

_STREAM: Final = 5  # of random numbers: what first arms are drawn with is the decider's own


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Stage:
    """A move, what was done, and the utility that doing it has cost."""

    move: Move
    action: Action
    paid: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Start:
    """first : the decision that began. may_go_on : False where its answer is kept whatever it shows. share : of the
    decisions that may go on.

    gain : what this way to begin is worth beside plain routing, in expectation, before anything is seen. moved :
    probability that plain routing would have begun otherwise.
    """

    first: Served
    hand: Hand
    may_go_on: bool
    share: float
    gain: float = 0.0
    moved: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Chain:
    """hand : at its end. chance : of keeping what was kept, given what was seen, in [0, 1]; for a first answer plain
    routing's share is in it.
    """

    start: _Start
    hand: Hand
    stages: tuple[_Stage, ...]
    signals_usd: float
    chance: float

    @property
    def kept(self) -> int:
        return self.stages[-1].action[1]


class ChainDecider:
    """A ``Decider`` that plays chains; ``Served.arm`` is the arm whose answer was kept.

    decider : draws first arms and learns of them. signals : of all rows of the plan.
    """

    def __init__(
        self, plan: Plan, decider: InProcessDecider, signals: ChainSignals, *, schema: FeatureSchema, seed: int
    ) -> None:
        self._decider = decider
        self._signals = signals
        self._max_calls = min(plan.options.max_calls, len(plan.data.arms))
        self._price = plan.price
        paid = np.where(signals.costs_usd > 0.0, signals.costs_usd, np.nan)
        known = np.isfinite(paid).any(axis=0)
        mean_usd = np.full(len(plan.data.arms), np.nan)
        mean_usd[known] = np.nanmean(paid[:, known], axis=0)
        self._prices = Prices(call=plan.penalty, signals=plan.price * mean_usd)
        tariff = plan.tariff()
        priors = [
            ArmPrior(arm, cost_usd=tariff.mean_cost_usd(i), quality_tier=tariff.tier(arm))
            for i, arm in enumerate(plan.data.arms)
        ]
        self._learner = ChainLearner(schema, priors, len(signals.names))
        self._generator = np.random.default_rng([seed, _STREAM])
        self._guard = Guard()
        self._played: list[_Chain | None] = []
        self.choose_us, self.update_us = decider.choose_us, decider.update_us

    async def decide(self, row: Row) -> Served:
        if row.warmup_arm is not None:
            self._played.append(None)
            return await self._decider.decide(row)
        start = await self._begin(row)
        hand = start.hand
        stages: list[_Stage] = []
        signals_usd = 0.0
        while not stages or stages[-1].action[0] != "keep":
            may_call = len(hand.answers) < self._max_calls
            move = self._learner.move(hand, self._prices_of(row.index, hand), may_call=may_call)
            kind, arm = action = move.drawn(self._generator.random()) if start.may_go_on else move.actions[0]
            paid = 0.0
            if kind == "ask":
                usd = float(self._signals.costs_usd[row.index, arm])
                signals_usd, paid = signals_usd + usd, usd * self._price
                hand = hand.with_signals(arm, self._signals.full[row.index, arm])
            elif kind == "call":
                paid = float(self._prices.call[arm])
                hand = self._with_answer(hand, row.index, arm)
            stages.append(_Stage(move=move, action=action, paid=paid))
        for answer in hand.answers:
            self._learner.observe(answer)
        chance = float(stages[-1].move.probability[0])
        if len(stages) == 1:
            chance = 1.0 - start.share * (1.0 - chance)
        chain = _Chain(start=start, hand=hand, stages=tuple(stages), signals_usd=signals_usd, chance=chance)
        self._played.append(chain)
        return Served(chain.kept, chain)

    async def _begin(self, row: Row) -> _Start:
        expected, deviation = self._decider.expected(row)
        share, gain, moved = self._guard.share, 0.0, 0.0
        may_go_on = bool(self._generator.random() < share)
        first = await self._decider.decide(
            row, self._learner.prospects(expected, self._prices) if may_go_on else None
        )
        if may_go_on and first.probability is not None:
            plain = self._decider.vector(row)
            gain = float((first.probability - plain) @ (expected - self._prices.call))
            moved = 1.0 - min(float(plain[first.arm] / first.probability[first.arm]), 1.0)
        hand = Hand(
            x=self._decider.context(row).x,
            expected=expected,
            deviation=deviation,
            answers=(Answer(arm=first.arm, signals=self._signals.free[row.index, first.arm]),),
        )
        return _Start(first=first, hand=hand, may_go_on=may_go_on, share=share, gain=gain, moved=moved)

    def _prices_of(self, row: int, hand: Hand) -> Prices:
        """Nothing is asked where this row has nothing to ask for."""
        signals = np.full_like(self._prices.signals, np.nan)
        for arm in hand.arms:
            if self._signals.costs_usd[row, arm] > 0.0:
                signals[arm] = self._prices.signals[arm]
        return replace(self._prices, signals=signals)

    def _with_answer(self, hand: Hand, row: int, arm: int) -> Hand:
        answers = [*hand.answers, Answer(arm=arm, signals=self._signals.free[row, arm])]
        same = self._signals.same
        if same is not None:
            arms = [answer.arm for answer in answers]
            answers = [
                replace(answer, same_as=frozenset(b for b in arms if b != answer.arm and same[row, answer.arm, b]))
                for answer in answers
            ]
        return replace(hand, answers=tuple(answers))

    async def reward(self, served: Served, *, reward: float | None, cost_usd: float, weight: float = 1.0) -> None:
        chain = served.token
        if not isinstance(chain, _Chain):  # a warm-up's
            await self._decider.reward(served, reward=reward, cost_usd=cost_usd, weight=weight)
            return
        if reward is None:
            return
        start, first, last = chain.start, chain.stages[0].move, chain.stages[-1].move
        arm = start.first.arm
        own = reward if chain.kept == arm else min(max(last.quality[arm], 0.0), 1.0)
        await self._decider.reward(start.first, reward=own, cost_usd=cost_usd, weight=weight)
        self._learner.learn_kept(last, chain.kept, reward, chain.chance)
        self._guard.observe_reward()
        if not start.may_go_on:
            self._learner.learn_gain(chain.hand.expected, self._prices, arm, first.promised)
            return
        later = 0.0
        for stage in reversed(chain.stages[:-1]):
            later += stage.paid
            self._learner.learn_called(stage.move, stage.action, reward - later)
        gain = reward - later - first.quality[arm] if len(chain.stages) > 1 else 0.0
        self._learner.learn_gain(chain.hand.expected, self._prices, arm, gain)
        shown = first.quality[arm] - float(chain.hand.expected[arm])
        self._guard.observe_chain(gain + start.gain + start.moved * shown)

    async def reward_others(self, served: Served, rewards: Mapping[int, float]) -> None:
        raise InvariantError("A cascade is played without probes.")

    async def begin_scoring(self) -> None:
        await self._decider.begin_scoring()

    async def close(self) -> None:
        await self._decider.close()

    def record(self, n_scored: int, routing: SeedRun) -> ChainRun:
        """What was played on the last ``n_scored`` rows. routing : the same shuffle without chains."""
        chains = [chain for chain in self._played[len(self._played) - n_scored :] if chain is not None]
        called = np.zeros((n_scored, self._prices.call.size), dtype=bool)
        for i, chain in enumerate(chains):
            called[i, list(chain.hand.arms)] = True
        first: IntArray = np.array([chain.start.first.arm for chain in chains], dtype=np.intp)
        paid: FloatArray = np.array([chain.signals_usd for chain in chains])
        return ChainRun(
            called=called,
            first=first,
            may_go_on=np.array([chain.start.may_go_on for chain in chains], dtype=bool),
            signals_usd=paid,
            guard=self._guard.record(),
            routing=routing,
        )
