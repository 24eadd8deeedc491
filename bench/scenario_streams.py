"""Replays of what goes wrong: an arm that degrades and recovers, arms that come and go, traffic that shifts.

Every scenario learns on one split first and is scored on the other; the phases, budgets and disturbances are those of
ParetoBandit's experiments 3 and 4 where it has them (arXiv 2604.00136; its ``experiments/03_catastrophic_failure``
and ``04_model_onboarding``). No printing here; ``scenario_figures.py`` makes figures of the traces.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from banditd.bandit.changes.arm_changes import ChangeEvent
from banditd.bandit.policies.base import PolicySettings
from banditd.core.errors import InvalidInputError
from banditd.core.types import Context, FeatureSchema, FloatArray, IntArray, Price
from banditd.replay.dataset import ReplayData
from banditd.replay.decider import InProcessDecider, Row, Terms
from banditd.replay.prices import Tariff

PHASE: Final = 608  # decisions, as published
DEGRADED_REWARD: Final = 0.75
BUDGETS_USD: Final[Mapping[str, float | None]] = {
    "unconstrained": None,
    "tight": 3.0e-4,
    "moderate": 6.62e-4,
    "loose": 1.87e-3,
}


@dataclass(frozen=True, slots=True)
class Roles:
    """Which arm plays which part. changing : degrades or disappears. newcomer : comes later, else is not there."""

    changing: int
    newcomer: int | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Stream:
    """What is played, in order.

    rows : (n,) into the data, of which the first ``warmup`` are not scored. score, cost_usd : float64 (n, K), as
    they are in that phase. phases : name to its extent among the scored. arrivals : decision to the arm that is
    new from then on; absent until then. switches : decision to (arm, enabled). watched : the arm whose share counts.
    prices : decision to the factors (K,) by which list prices change there, and are known to.
    """

    rows: IntArray
    score: FloatArray
    cost_usd: FloatArray
    warmup: int
    phases: Mapping[str, slice]
    watched: int
    arrivals: Mapping[int, int] = field(default_factory=dict)
    switches: Mapping[int, tuple[int, bool]] = field(default_factory=dict)
    prices: Mapping[int, FloatArray] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, eq=False)
class Trace:
    """One pass. chosen : arm of each scored decision, (n,). events : alarms, ``folded`` counts the warm-up too."""

    stream: Stream
    seed: int
    chosen: IntArray
    events: tuple[ChangeEvent, ...]

    @property
    def reward(self) -> FloatArray:
        return self._of_chosen(self.stream.score)

    @property
    def cost_usd(self) -> FloatArray:
        return self._of_chosen(self.stream.cost_usd)

    def _of_chosen(self, values: FloatArray) -> FloatArray:
        result: FloatArray = values[self.stream.warmup :][np.arange(self.chosen.size), self.chosen]
        return result


Builder = Callable[[ReplayData, int, Roles], Stream]


def degradation(data: ReplayData, seed: int, roles: Roles, *, scaled: bool = False, phase: int = PHASE) -> Stream:
    """Normal, degraded, normal again: the arm's reward is ``DEGRADED_REWARD`` in phase 2 at the same cost.

    scaled : its scores are scaled to that mean instead, so that they keep their noise and pattern. Phase 3 plays the
    queries of phase 1 again in another order, as published, so that both compare.
    """
    generator, rows, warmup = _shuffled(data, seed, 2 * phase)
    first, second = rows[warmup : warmup + phase], rows[warmup + phase :]
    rows = np.concatenate([rows, generator.permutation(first)])
    score, cost = data.score[rows], data.cost_usd[rows]
    bad = slice(warmup + phase, warmup + 2 * phase)
    mean = float(data.score[second, roles.changing].mean())
    score[bad, roles.changing] = score[bad, roles.changing] * DEGRADED_REWARD / mean if scaled else DEGRADED_REWARD
    names = ("normal", "degraded", "recovered")
    return Stream(
        rows=rows, score=score, cost_usd=cost, warmup=warmup, phases=_phases(names, phase), watched=roles.changing
    )


def degradation_scaled(data: ReplayData, seed: int, roles: Roles) -> Stream:
    """See ``degradation``."""
    return degradation(data, seed, roles, scaled=True)


def disappearance(data: ReplayData, seed: int, roles: Roles, *, phase: int = PHASE) -> Stream:
    """An arm is switched off in phase 2 and on again in phase 3, which plays the queries of phase 1 again."""
    generator, rows, warmup = _shuffled(data, seed, 2 * phase)
    rows = np.concatenate([rows, generator.permutation(rows[warmup : warmup + phase])])
    names = ("there", "gone", "back")
    return Stream(
        rows=rows,
        score=data.score[rows],
        cost_usd=data.cost_usd[rows],
        warmup=warmup,
        phases=_phases(names, phase),
        watched=roles.changing,
        switches={warmup + phase: (roles.changing, False), warmup + 2 * phase: (roles.changing, True)},
    )


def newcomer(
    data: ReplayData, seed: int, roles: Roles, *, reward_scale: float = 1.0, cost_scale: float = 1.0
) -> Stream:
    """A new arm at the first scored decision, its rewards and costs scaled."""
    if roles.newcomer is None:
        raise InvalidInputError("This scenario needs an arm that comes later.")
    _, rows, warmup = _shuffled(data, seed, None)
    score, cost = data.score[rows], data.cost_usd[rows]
    score[:, roles.newcomer] *= reward_scale
    cost[:, roles.newcomer] *= cost_scale
    return Stream(
        rows=rows,
        score=score,
        cost_usd=cost,
        warmup=warmup,
        phases={"onboarding": slice(0, rows.size - warmup)},
        watched=roles.newcomer,
        arrivals={warmup: roles.newcomer},
    )


def bad_newcomer(data: ReplayData, seed: int, roles: Roles) -> Stream:
    """Half the rewards at the same cost: ParetoBandit's ``bad_cheap``."""
    return newcomer(data, seed, roles, reward_scale=0.5)


def dear_newcomer(data: ReplayData, seed: int, roles: Roles) -> Stream:
    """The same rewards at ten times the cost: ParetoBandit's ``good_expensive``."""
    return newcomer(data, seed, roles, cost_scale=10.0)


def price_drop(data: ReplayData, seed: int, roles: Roles, *, factor: float, phase: int = PHASE) -> Stream:
    """The changing arm costs ``factor`` of its price in phase 2, and its price again in phase 3: experiment 2.

    Phase 3 plays the queries of phase 1 again. The list price is changed with the costs, as published.
    """
    generator, rows, warmup = _shuffled(data, seed, 2 * phase)
    rows = np.concatenate([rows, generator.permutation(rows[warmup : warmup + phase])])
    cost, change = data.cost_usd[rows], np.ones(len(data.arms))
    cost[warmup + phase : warmup + 2 * phase, roles.changing] *= factor
    change[roles.changing] = factor
    return Stream(
        rows=rows,
        score=data.score[rows],
        cost_usd=cost,
        warmup=warmup,
        phases=_phases(("normal", "cheap", "normal again"), phase),
        watched=roles.changing,
        prices={warmup + phase: change, warmup + 2 * phase: 1.0 / change},
    )


SCENARIOS: Final[Mapping[str, Builder]] = {
    "degradation": degradation,
    "degradation-scaled": degradation_scaled,
    "new-good-arm": newcomer,
    "new-bad-arm": bad_newcomer,
    "new-dear-arm": dear_newcomer,
    "arm-disappears": disappearance,
}


def play_stream(
    stream: Stream,
    *,
    data: ReplayData,
    schema: FeatureSchema,
    contexts: list[Context],
    budget_usd: float | None,
    seed: int,
    settings: PolicySettings | None = None,
    prices: Mapping[str, Price] | None = None,
) -> Trace:
    """Play a stream through the daemon's classes in process.

    contexts : one per row of ``data``. prices : list prices that are known in advance, by arm; None for none.
    """
    decider = InProcessDecider(
        schema=schema,
        settings=settings or PolicySettings(),
        arms=data.arms,
        contexts=contexts,
        seed=seed,
        tariff=Tariff.of_list(prices or {}, data.arms, data.prompts, budget_usd or 0.0),
        terms=Terms(budget_usd=budget_usd),
        absent=frozenset(stream.arrivals.values()),
    )
    return asyncio.run(_play(stream, decider, seed))


async def _play(stream: Stream, decider: InProcessDecider, seed: int) -> Trace:
    chosen = np.zeros(stream.rows.size, dtype=np.intp)
    for position, row in enumerate(stream.rows.tolist()):
        if position == stream.warmup:
            await decider.begin_scoring()
        if position in stream.arrivals:
            decider.add_arm(stream.arrivals[position])
        if position in stream.switches:
            arm, enabled = stream.switches[position]
            decider.enable_arm(arm, enabled=enabled)
        if position in stream.prices:
            decider.change_prices(stream.prices[position])
        served = await decider.decide(Row(row, ""))
        chosen[position] = served.arm
        await decider.reward(
            served,
            reward=float(stream.score[position, served.arm]),
            cost_usd=float(stream.cost_usd[position, served.arm]),
        )
    events = tuple(decider.state.arm_changes.history)
    return Trace(stream=stream, seed=seed, chosen=chosen[stream.warmup :], events=events)


def _shuffled(data: ReplayData, seed: int, scored: int | None) -> tuple[np.random.Generator, IntArray, int]:
    """(generator, warm-up rows then scored rows, number of warm-up rows) in the order of a seed."""
    generator = np.random.default_rng(seed)
    warmup = generator.permutation(data.rows_of("val"))
    test = generator.permutation(data.rows_of("test"))
    if scored is not None and test.size < scored:
        raise InvalidInputError(f"This scenario needs {scored} rows of the test split; there are {test.size}.")
    return generator, np.concatenate([warmup, test if scored is None else test[:scored]]), warmup.size


def _phases(names: tuple[str, ...], length: int) -> dict[str, slice]:
    return {name: slice(i * length, (i + 1) * length) for i, name in enumerate(names)}
