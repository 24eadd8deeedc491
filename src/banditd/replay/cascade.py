"""Chains in a replay: after an answer its signals are seen, and it is kept or another arm is called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from banditd.core.types import BoolArray, FloatArray, IntArray
from banditd.deciding.chains.guard import Guard
from banditd.deciding.chains.hand import Answer, Hand
from banditd.deciding.chains.learner import ChainLearner, Move, Prices
from banditd.replay.decider import InProcessDecider, Row, Served


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ChainData:
    """free, full : float64 (n, K, S), signals that every answer shows, and with those that cost something.
    same : bool (n, K, K) or None. signals_usd : float64 (n, K), 0 where there is nothing to be asked for.
    prices : as known in advance. paid_call (K,), utility per dollar price.
    """

    free: FloatArray
    full: FloatArray
    same: BoolArray | None
    signals_usd: FloatArray
    prices: Prices
    price: float
    max_calls: int = 3


@dataclass(slots=True, kw_only=True, eq=False)
class _Chain:
    first: Served
    row: int
    hand: Hand
    stages: list[tuple[Move, tuple[str, int]]]
    kept: int
    is_plain: bool
    paid: list[float]
    start_loss: float


class ChainDecider:
    def __init__(self, inner: InProcessDecider, data: ChainData, learner: ChainLearner, seed: int) -> None:
        self._inner, self._data, self.learner = inner, data, learner
        self.choose_us, self.update_us = inner.choose_us, inner.update_us
        self._generator = np.random.default_rng([seed, 7])
        self.guard = Guard()
        self.log: list[tuple[int, float, list[int], float, bool]] = []  # row, asked usd, arms called, plain

    async def decide(self, row: Row) -> Served:
        data = self._data
        if row.warmup_arm is not None:
            return await self._inner.decide(row)
        snapshot = self._inner.state.snapshot()
        x = self._inner._contexts[row.index].x
        mean, deviation = snapshot.predict(x[None])
        expected, deviation = mean[0], deviation[0]
        is_plain = self._generator.random() >= self.guard.share
        start_loss = 0.0
        if is_plain:
            first = await self._inner.decide(row)
        else:
            prospects = self.learner.prospects(expected, data.prices)
            first = await self._inner.decide(row, prospects)
            plain = self._inner.would(row)
            u = expected - data.prices.call
            start_loss = float((first.probability - plain) @ u)
        arm = first.arm
        answer = Answer(arm=arm, signals=data.free[row.index, arm])
        hand = Hand(x=x, expected=expected, deviation=deviation, answers=(answer,))
        stages: list[tuple[Move, tuple[str, int]]] = []
        paid: list[float] = []
        asked_usd = 0.0
        while True:
            may = len(hand.answers) < data.max_calls
            move = self.learner.move(hand, self._prices(row.index), may_call=may)
            if is_plain:
                stages.append((move, ("keep", arm)))
                break
            place = int(np.searchsorted(np.cumsum(move.probability), self._generator.random() * move.probability.sum()))
            action = move.actions[min(place, len(move.actions) - 1)]
            stages.append((move, action))
            kind, other = action
            if kind == "keep":
                break
            if kind == "ask":
                usd = float(data.signals_usd[row.index, other])
                asked_usd += usd
                paid.append(usd * data.price)
                hand = hand.with_signals(other, data.full[row.index, other])
            else:
                paid.append(float(data.prices.call[other]))
                hand = self._with_answer(hand, row.index, other)
        for one in hand.answers:
            self.learner.observe(one)
        kept = stages[-1][1][1]
        self.log.append((row.index, asked_usd, list(hand.arms), start_loss, is_plain))
        chain = _Chain(
            first=first, row=row.index, hand=hand, stages=stages, kept=kept, is_plain=is_plain, paid=paid,
            start_loss=start_loss,
        )
        return Served(kept, chain, None)

    def _prices(self, row: int) -> Prices:
        asked = np.where(self._data.signals_usd[row] > 0, self._data.prices.signals, np.nan)
        return Prices(call=self._data.prices.call, signals=asked)

    def _with_answer(self, hand: Hand, row: int, arm: int) -> Hand:
        data = self._data
        answers = [*hand.answers, Answer(arm=arm, signals=data.free[row, arm])]
        if data.same is not None:
            from dataclasses import replace
            arms = [one.arm for one in answers]
            answers = [
                replace(one, same_as=frozenset(b for b in arms if b != one.arm and data.same[row, one.arm, b]))
                for one in answers
            ]
        from dataclasses import replace
        return replace(hand, answers=tuple(answers))

    async def reward(self, served: Served, *, reward: float | None, cost_usd: float, weight: float = 1.0) -> None:
        chain = served.token
        if not isinstance(chain, _Chain):
            await self._inner.reward(served, reward=reward, cost_usd=cost_usd, weight=weight)
            return
        first, stages = chain.first, chain.stages
        if reward is None:
            return
        self.guard.rewards += 1
        r0 = stages[0][0]
        a = first.arm
        quality_first = r0.quality[a]
        own = reward if chain.kept == a else stages[-1][0].quality[a]
        await self._inner.reward(first, reward=min(max(own, 0.0), 1.0), cost_usd=cost_usd, weight=weight)
        self.learner.learn_kept(stages[-1][0], chain.kept, reward)
        if chain.is_plain:
            return
        later = 0.0
        for (move, action), p in reversed(list(zip(stages[:-1], chain.paid, strict=True))):
            self.learner.learn_called(move, action, reward, later)
            later += p
        gain = 0.0 if len(stages) == 1 else reward - later - quality_first
        self.learner.learn_gain(chain.hand.expected, self._data.prices, a, gain)
        self.guard.observe(gain + chain.start_loss)

    async def reward_others(self, served: Served, rewards: Mapping[int, float]) -> None: ...

    async def begin_scoring(self) -> None:
        await self._inner.begin_scoring()

    async def close(self) -> None:
        await self._inner.close()
