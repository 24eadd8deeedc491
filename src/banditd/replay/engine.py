"""Replay: every prompt was answered by every arm, so any policy can be played against the truth.

Reads a folder, plays it once per seed from a cold start through the classes that the daemon runs, and hands
the record to ``report.py``. No printing here.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from multiprocessing import get_context

import numpy as np

from banditd.core.errors import InvariantError
from banditd.core.types import Context, FeatureSchema, FloatArray
from banditd.deciding.keeper import PromiseRule
from banditd.replay.cascade import ChainDecider
from banditd.replay.chain_signals import ChainSignals
from banditd.replay.contexts import build_contexts
from banditd.replay.decider import Decider, InProcessDecider, Row, Served, Terms
from banditd.replay.feedback import Feedback
from banditd.replay.options import ReplayOptions
from banditd.replay.plan import Plan, SeedRun, make_plan
from banditd.replay.promise import ReplayPromise, baseline_arm
from banditd.replay.report import ReplayReport, make_report

Progress = Callable[[int, int], None]  # (decisions played, decisions in all)
_BATCH = 200  # decisions between two reports of progress
_FEW = 10_000  # decisions that are played sooner than a second process has begun


def run(options: ReplayOptions, progress: Progress = lambda _done, _all: None) -> ReplayReport:
    """Replay in process, seeds spread over processes.

    Raises
    ------
    InvalidInputError : see ``make_plan``. ConfigurationError : the policy, its options or the prior.
    """
    plan = make_plan(options)
    options.settings()
    if options.cascade:
        ChainSignals.of(plan)  # before much is encoded: are there any?
    schema, contexts = build_contexts(
        plan.data.prompts,
        with_facts=options.policy == "rules",
        context_tags=options.context_tags,
        tags=plan.data.tags(options.context_tags) if options.context_tags else (),
        progress=lambda _rows: progress(0, plan.decisions),
    )
    if options.prior is not None:
        options.prior.check(schema)
    workers = options.workers or (1 if plan.decisions < _FEW else min(2, options.seeds, os.cpu_count() or 1))
    progress(0, plan.decisions)
    if workers == 1 or options.seeds == 1:
        runs = []
        for seed in range(options.seeds):
            done = seed * (plan.decisions // options.seeds)
            runs.append(play_seed(plan, schema, contexts, seed, _shifted(progress, done, plan)))
    else:
        runs = _in_processes(plan, schema, contexts, workers, progress)
    hindsight = options.keep is not None or options.recipes is not None or options.cascade
    x = None if not hindsight else np.stack([context.x for context in contexts])
    return make_report(plan, runs, x)


async def run_with(
    plan: Plan, decider: Callable[[int], Decider], progress: Progress = lambda _done, _all: None
) -> ReplayReport:
    """Replay through deciders of your own, one per seed, one after the other (a live daemon, for example)."""
    runs = []
    each = plan.decisions // plan.options.seeds
    for seed in range(plan.options.seeds):
        done = seed * each
        runs.append(await play(plan, decider(seed), seed, _shifted(progress, done, plan)))
    return make_report(plan, runs)


def _shifted(progress: Progress, done: int, plan: Plan) -> Callable[[int], None]:
    """Progress of one seed as progress of the whole."""
    return lambda played: progress(done + played, plan.decisions)


async def play(plan: Plan, decider: Decider, seed: int, progress: Callable[[int], None]) -> SeedRun:
    """One pass over the rows; closes the decider."""
    warmup, scored = plan.order(seed)
    forced = plan.warmup_arms(seed)
    desk = _RewardDesk(plan, decider, seed)
    chosen = np.zeros(scored.size, dtype=np.intp)
    vectors: list[FloatArray | None] = []
    try:
        for position, index in enumerate(np.concatenate([warmup, scored]).tolist()):
            if position == warmup.size:
                await decider.begin_scoring()
            arm = forced.get(position)
            served = await decider.decide(Row(index, plan.data.prompts[index], arm))
            if arm is not None and served.arm != arm:
                raise InvariantError("The decider chose an arm where a randomised warm-up had drawn another.")
            if position >= warmup.size:
                chosen[position - warmup.size] = served.arm
                vectors.append(served.probability)
            await desk.take(index, served)
            if position % _BATCH == _BATCH - 1:
                progress(position + 1)
        await desk.clear()
    finally:
        await decider.close()
    progress(warmup.size + scored.size)
    return SeedRun(
        seed=seed,
        rows=scored,
        chosen=chosen,
        choose_us=_median(decider.choose_us),
        update_us=_median(decider.update_us),
        rewards=desk.rewards,
        probe_rewards=desk.probe_rewards,
        probability=_stacked(vectors),
        verdict=decider.verdict() if isinstance(decider, InProcessDecider) else None,
    )


def _stacked(vectors: Sequence[FloatArray | None]) -> FloatArray | None:
    """The logged vectors, float64 (n, K), or None where the decider keeps them to itself."""
    known = [vector for vector in vectors if vector is not None]
    return np.stack(known) if known and len(known) == len(vectors) else None


class _RewardDesk:
    """Holds decisions until their reward is due, then tells the decider. ``rewards`` counts those that came.

    ``probe_rewards`` counts those of arms that did not serve.
    """

    def __init__(self, plan: Plan, decider: Decider, seed: int) -> None:
        options, data = plan.options, plan.data
        self.rewards = self.probe_rewards = 0
        self._score = data.score
        self._probed = np.random.default_rng([seed, 4]).random(data.n_rows) < options.probes
        self._delay = options.reward_delay
        self._decider = decider
        self._cost_usd = data.cost_usd
        self._waiting: deque[tuple[int, Served]] = deque()
        self._feedback = Feedback(
            data.score, data.arms, sources=options.feedback, reward_rate=options.reward_rate, seed=seed
        )

    async def take(self, index: int, served: Served) -> None:
        self._waiting.append((index, served))
        if len(self._waiting) > self._delay:
            await self._settle(*self._waiting.popleft())

    async def clear(self) -> None:
        while self._waiting:
            await self._settle(*self._waiting.popleft())

    async def _settle(self, index: int, served: Served) -> None:
        cost_usd = float(self._cost_usd[index, served.arm])
        weight, reward = self._feedback.of(index, served.arm) or (1.0, self._probe(index).get(served.arm))
        self.rewards += reward is not None
        if weight == 1.0:  # a decider that knows no weights can play wherever all rewards count alike
            await self._decider.reward(served, reward=reward, cost_usd=cost_usd)
        else:
            await self._decider.reward(served, reward=reward, cost_usd=cost_usd, weight=weight)
        others = {arm: score for arm, score in self._probe(index).items() if arm != served.arm}
        if others:
            self.probe_rewards += len(others)
            await self._decider.reward_others(served, others)

    def _probe(self, index: int) -> dict[int, float]:
        """Every arm's score that is known, where the row is probed."""
        if not self._probed[index]:
            return {}
        known = np.flatnonzero(~np.isnan(self._score[index]))
        return {int(arm): float(self._score[index, arm]) for arm in known}


def _median(times: Sequence[float]) -> float | None:
    return float(np.median(times)) if times else None


def play_seed(
    plan: Plan,
    schema: FeatureSchema,
    contexts: list[Context],
    seed: int,
    progress: Callable[[int], None] = lambda _done: None,
) -> SeedRun:
    """One cold pass through the daemon's classes. contexts : of every row of the plan's data, of ``schema``."""
    if plan.options.cascade:
        return _play_chains(plan, schema, contexts, seed, progress)
    decider = _decider(plan, schema, contexts, seed)
    played = asyncio.run(play(plan, decider, seed, progress))
    if seed == 0 and plan.options.keep_prior:
        return replace(played, prior=decider.prior(_provenance(plan)))
    return played


def _play_chains(
    plan: Plan, schema: FeatureSchema, contexts: list[Context], seed: int, progress: Callable[[int], None]
) -> SeedRun:
    """The same shuffle without chains and with them."""
    each = plan.decisions // plan.options.seeds // 2
    routing = asyncio.run(play(plan, _decider(plan, schema, contexts, seed), seed, progress))
    inner = _decider(plan, schema, contexts, seed)
    chains = ChainDecider(plan, inner, ChainSignals.of(plan), schema=schema, seed=seed)
    played = asyncio.run(play(plan, chains, seed, lambda done: progress(each + done)))
    prior = inner.prior(_provenance(plan)) if seed == 0 and plan.options.keep_prior else None
    return replace(played, chains=chains.record(played.rows.size, routing), prior=prior)


def _decider(plan: Plan, schema: FeatureSchema, contexts: list[Context], seed: int) -> InProcessDecider:
    budget = plan.options.budget_usd
    return InProcessDecider(
        schema=schema,
        settings=plan.options.settings(),
        arms=plan.data.arms,
        contexts=contexts,
        seed=seed,
        tariff=plan.tariff(),
        terms=Terms(
            cost_weight=plan.options.cost_weight or 0.0,
            budget_usd=budget,
            promise=_promise(plan, schema),
            max_shares=plan.options.max_shares,
        ),
    )


def _promise(plan: Plan, schema: FeatureSchema) -> ReplayPromise | None:
    if plan.options.keep is None:
        return None
    return ReplayPromise(
        PromiseRule(keep=plan.options.keep),
        n_arms=len(plan.data.arms),
        n_features=len(schema.names),
        baseline=baseline_arm(plan),
    )


def _provenance(plan: Plan) -> str:
    pool, objective = plan.options.pool or "all", plan.options.objective()
    stated = ", ".join(f"{key} {value}" for key, value in objective.items() if key != "kind")
    return f"replay of {plan.data.name}, pool {pool}, {stated}, policy {plan.options.policy}, seed 0"


_SHARED: tuple[Plan, FeatureSchema, list[Context]] | None = None


def _adopt(plan: Plan, schema: FeatureSchema, contexts: list[Context]) -> None:
    global _SHARED  # noqa: PLW0603  (one copy per worker process, set by its initializer)
    _SHARED = (plan, schema, contexts)


def _in_worker(seed: int) -> SeedRun:
    assert _SHARED is not None  # noqa: S101  (the initializer ran)
    return play_seed(*_SHARED, seed, lambda _n: None)


def _in_processes(
    plan: Plan, schema: FeatureSchema, contexts: list[Context], workers: int, progress: Progress
) -> list[SeedRun]:
    """Spawned, not forked: the parent may have threads."""
    each = plan.decisions // plan.options.seeds
    runs: list[SeedRun] = []
    with ProcessPoolExecutor(
        max_workers=workers,
        mp_context=get_context("spawn"),
        initializer=_adopt,
        initargs=(plan, schema, contexts),
    ) as pool:
        for finished in as_completed([pool.submit(_in_worker, seed) for seed in range(plan.options.seeds)]):
            runs.append(finished.result())
            progress(len(runs) * each, plan.decisions)
    return sorted(runs, key=lambda one: one.seed)
