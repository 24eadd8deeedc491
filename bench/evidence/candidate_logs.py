"""Logs of banditd's own learner on sets whose every score is known, with what it has learned at their end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Final

import numpy as np

from banditd.bandit.policies.base import PolicySettings
from banditd.core.rewards import Contribution
from banditd.core.types import Arm, FloatArray
from banditd.deciding.keeper import PromiseRule
from banditd.ports import StoredLearning, StoredSegment
from banditd.ports.evaluations import LoggedDecision
from banditd.replay.contexts import build_contexts
from banditd.replay.dataset import ReplayData
from banditd.replay.decider import InProcessDecider, Row, Terms
from banditd.replay.prices import OUTPUT_TOKENS, Tariff
from banditd.replay.promise import ReplayPromise
from banditd.services.policy import PolicyConfig, PolicyRuntime, PolicySwitches

POLICY: Final = "bench"
COST_WEIGHT: Final = 0.1
FLOOR: Final = 0.05
PROMISE_FLOOR: Final = 0.005  # as config.yaml has it
SECOND_US: Final = 1_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Log:
    """What a learner has left. scores, cost_usd : of the decisions, in order, float64 (n, K)."""

    runtime: PolicyRuntime
    decider: InProcessDecider
    rows: Sequence[LoggedDecision]
    scores: FloatArray
    cost_usd: FloatArray
    stored: StoredLearning

    @property
    def earned(self) -> tuple[float, float]:
        """(mean reward, mean cost in dollars) of the vectors that were played."""
        vectors = np.array([row.probability for row in self.rows])
        return float((vectors * self.scores).sum(1).mean()), float((vectors * self.cost_usd).sum(1).mean())


def contexts_of(data: ReplayData) -> Any:
    """(schema, contexts) of a set's prompts."""
    return build_contexts(data.prompts, with_facts=False)


async def played(data: ReplayData, built: Any, seed: int, n: int, keep: float | None = None) -> Log:
    """A log of n decisions, at the weight, or under a promise of the dearest arm. Rows are those of the seed."""
    schema, contexts = built
    order = np.random.default_rng([seed, 16]).integers(data.n_rows, size=n)
    settings = PolicySettings(floor=FLOOR if keep is None else PROMISE_FLOOR)
    tariff = Tariff.of_means(data.cost_usd.mean(axis=0), data.n_rows)
    dearest = int(data.cost_usd.mean(axis=0).argmax())
    rule = None if keep is None else PromiseRule(keep=keep)
    promise = None
    if rule is not None:
        promise = ReplayPromise(rule, n_arms=len(data.arms), n_features=schema.n_features, baseline=dearest)
    weight = COST_WEIGHT if keep is None else 0.0
    decider = InProcessDecider(
        schema=schema, settings=settings, arms=data.arms, contexts=contexts, seed=seed,
        tariff=tariff, terms=Terms(cost_weight=weight, promise=promise),
    )  # fmt: skip
    rows: list[LoggedDecision] = []
    for number, row in enumerate(order.tolist()):
        epoch, pledge = decider.state.epoch, None if promise is None else promise.pledge
        served = await decider.decide(Row(row, data.prompts[row]))
        context, at_us = contexts[row], number * SECOND_US
        mean, _ = decider.state.snapshot().predict(context.x[None, :])
        reward = float(data.score[row, served.arm])
        assert served.probability is not None
        rows.append(LoggedDecision(
            decision_id=str(number), created_at_us=at_us, arm=data.arms[served.arm], reason="policy", arms=data.arms,
            probability=served.probability, mean=mean[0], price_per_usd=None, exclusions={},
            call_price=np.zeros(len(data.arms)),
            x=context.x.astype(np.float32), cluster=context.cluster, facts=context.facts, cost_weight=weight,
            input_tokens=0, keep=keep, baseline=None if keep is None else data.arms[dearest],
            promise={} if pledge is None else {"share": pledge.share, "price_per_usd": pledge.price_per_usd},
            epoch=epoch, generations={},
            contribution=Contribution(data.arms[served.arm], epoch, 1.0, reward), rated_at_us=at_us + 1,
        ))  # fmt: skip
        await decider.reward(served, reward=reward, cost_usd=float(data.cost_usd[row, served.arm]))
    state = decider.state
    arms = tuple(
        Arm(policy=POLICY, arm=arm, upstream_model=arm, price=price, expected_output_tokens=OUTPUT_TOKENS)
        for arm, price in zip(data.arms, tariff.prices, strict=True)
    )
    stored = StoredLearning(
        version=1, epoch=state.epoch, hyperparameters=state.hyperparameters_json(), learner=state.learner_json(),
        segments=tuple(StoredSegment(arm=a, epoch=e, sums=s, version=1) for a, e, s in state.segments()),
    )  # fmt: skip
    runtime = _runtime(settings, arms, schema, weight, rule)
    return Log(runtime, decider, rows, data.score[order], data.cost_usd[order], stored)


def _runtime(
    settings: PolicySettings, arms: tuple[Arm, ...], schema: Any, weight: float, rule: PromiseRule | None
) -> PolicyRuntime:
    switches = PolicySwitches(promise=rule)
    config = PolicyConfig(name=POLICY, settings=settings, cost_weight=weight, switches=switches)
    runtime = PolicyRuntime(config, SimpleNamespace(schema=schema))  # type: ignore[arg-type]  # no text is read
    runtime.arms = arms
    return runtime
