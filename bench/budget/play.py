"""One pass of banditd or of ParetoBandit: reward and cost of every scored decision. Same rows, same order."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

import numpy as np

from banditd.bandit.policies.base import PolicySettings
from banditd.core.types import FloatArray, IntArray
from banditd.replay.decider import InProcessDecider, Row, Terms
from banditd.replay.prices import Tariff
from bench.budget.pareto import Pareto, features
from bench.budget.setting import (
    ARMS,
    BUDGETS,
    DRIFT_BUDGETS,
    DROP_FACTOR,
    DROPPED,
    DROPPING,
    PRICES,
    Setting,
    setting,
)
from bench.scenario_streams import PHASE, Roles, Stream, play_stream, price_drop

PLAYERS: Final = ("banditd", "ParetoBandit 0.1.1")
SETTLED: Final = 200  # decisions after a price change that may pass until the spend is back


@dataclass(frozen=True, slots=True)
class Task:
    """One pass: case is the number of a budget, or the name of one of the drift scenario."""

    player: str
    case: int | str
    seed: int

    @property
    def budget_usd(self) -> float:
        return BUDGETS[self.case] if isinstance(self.case, int) else DRIFT_BUDGETS[self.case]


def play(task: Task) -> tuple[Task, dict[str, float]]:
    """Figures of one pass."""
    made = setting()
    if isinstance(task.case, int):
        rows, warmup = order(made, task.seed)
        chosen = _stationary(made, task, rows, warmup)[warmup:]
        rows = rows[warmup:]
        return task, figures(made.data.score[rows, chosen], made.data.cost_usd[rows, chosen], task.budget_usd)
    stream = price_drop(made.data, task.seed, Roles(changing=DROPPING), factor=DROP_FACTOR)
    at = np.arange(stream.warmup, stream.rows.size)
    chosen = _drift(made, task, stream)
    return task, drift_figures(stream.score[at, chosen], stream.cost_usd[at, chosen], task.budget_usd)


def order(made: Setting, seed: int) -> tuple[IntArray, int]:
    """(warm-up rows then scored rows, number of warm-up rows), as ``banditd replay`` shuffles them."""
    generator = np.random.default_rng(seed)
    scored = generator.permutation(made.data.rows_of("test"))
    warmup = generator.permutation(made.data.rows_of("val"))
    return np.concatenate([warmup, scored]), warmup.size


def figures(reward: FloatArray, cost_usd: FloatArray, budget_usd: float) -> dict[str, float]:
    return {"reward": float(reward.mean()), "over_budget": float(cost_usd.mean()) / budget_usd}


def drift_figures(reward: FloatArray, cost_usd: FloatArray, budget_usd: float) -> dict[str, float]:
    """Reward and cost over budget by phase, and the spend of phase 2 after its first ``SETTLED`` decisions."""
    found: dict[str, float] = {}
    for number in range(3):
        part = slice(number * PHASE, (number + 1) * PHASE)
        found[f"reward {number + 1}"] = float(reward[part].mean())
        found[f"cost {number + 1}"] = float(cost_usd[part].mean()) / budget_usd
    found["cost after"] = float(cost_usd[PHASE + SETTLED : 2 * PHASE].mean()) / budget_usd
    return found


def _stationary(made: Setting, task: Task, rows: IntArray, warmup: int) -> IntArray:
    data = made.data
    if task.player == PLAYERS[1]:
        peer = Pareto(features(data.prompts), task.budget_usd, task.seed)
        return np.array([peer.play(row, data.score[row], data.cost_usd[row]) for row in rows.tolist()], dtype=np.intp)
    return asyncio.run(_banditd(made, task, rows, warmup))


async def _banditd(made: Setting, task: Task, rows: IntArray, warmup: int) -> IntArray:
    data = made.data
    decider = InProcessDecider(
        schema=made.schema,
        settings=PolicySettings(),
        arms=data.arms,
        contexts=made.contexts,
        seed=task.seed,
        tariff=Tariff.of_list(PRICES, data.arms, data.prompts),
        terms=Terms(budget_usd=task.budget_usd),
    )
    chosen = np.zeros(rows.size, dtype=np.intp)
    for position, row in enumerate(rows.tolist()):
        if position == warmup:
            await decider.begin_scoring()
        served = await decider.decide(Row(row, ""))
        chosen[position] = served.arm
        await decider.reward(
            served, reward=float(data.score[row, served.arm]), cost_usd=float(data.cost_usd[row, served.arm])
        )
    return chosen


def _drift(made: Setting, task: Task, stream: Stream) -> IntArray:
    if task.player == PLAYERS[0]:
        return play_stream(
            stream,
            data=made.data,
            schema=made.schema,
            contexts=made.contexts,
            budget_usd=task.budget_usd,
            seed=task.seed,
            prices=PRICES,
        ).chosen
    peer = Pareto(features(made.data.prompts), task.budget_usd, task.seed)
    chosen = np.zeros(stream.rows.size, dtype=np.intp)
    for position, row in enumerate(stream.rows.tolist()):
        if position == stream.warmup + PHASE:
            peer.change_price(DROPPING, DROPPED)
        if position == stream.warmup + 2 * PHASE:
            peer.change_price(DROPPING, PRICES[ARMS[DROPPING]])
        chosen[position] = peer.play(row, stream.score[position], stream.cost_usd[position])
    return chosen[stream.warmup :]
