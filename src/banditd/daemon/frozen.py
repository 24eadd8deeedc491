"""A policy as it is now, deciding without learning, logging or budgets: what it knows is read once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from banditd.bandit.state import PolicyState
from banditd.core.errors import InvalidInputError
from banditd.core.pace import Pace
from banditd.core.types import FloatArray, Query
from banditd.daemon.promising import make_promising
from banditd.daemon.workbench import Workbench
from banditd.deciding.decide import Case, Situation, decide
from banditd.obs.metrics import Metrics
from banditd.services.money.amounts import AmountModels
from banditd.services.policy import PolicyRuntime, runtime_of
from banditd.services.promising.book import PromiseBook

_BLOCK: Final = 64


class FrozenPolicy:
    """Made by ``load_frozen``. arms : those that it may draw, none of them a recipe."""

    def __init__(self, bench: Workbench, runtime: PolicyRuntime, book: PromiseBook) -> None:
        self._bench = bench
        self._runtime = runtime
        self._book = book
        self.arms = tuple(arm for arm in runtime.arms if arm.enabled and arm.recipe is None)

    async def probabilities(self, texts: Sequence[str]) -> FloatArray:
        """What each text's arm would be drawn from: float64 (n, arms).

        Raises InvalidInputError for a text that the policy would refuse.
        """
        found = [await self._block(texts[start : start + _BLOCK], start) for start in range(0, len(texts), _BLOCK)]
        return np.concatenate(found) if found else np.zeros((0, len(self.arms)))

    async def models(self, texts: Sequence[str], *, seed: int | None = None) -> list[str]:
        """The model for each text: the most probable one, or with a seed as the policy draws.

        Raises InvalidInputError for a text that the policy would refuse.
        """
        probability = await self.probabilities(texts)
        if seed is None:
            places = probability.argmax(axis=1)
        else:
            uniform = np.random.default_rng(seed).random((len(texts), 1))
            places = (probability.cumsum(axis=1) <= uniform).sum(axis=1).clip(max=probability.shape[1] - 1)
        return [self.arms[place].upstream_model for place in places]

    async def _block(self, texts: Sequence[str], first: int) -> FloatArray:
        runtime, encoder, offered = self._runtime, self._bench.encoder, tuple(arm.arm for arm in self.arms)
        cases = []
        for text in texts:
            query = Query(policy=runtime.name, text=text, candidates=offered, dry_run=True)
            described = runtime.described(query, await encoder.encode(text))
            [context] = runtime.builder.contexts([described])
            cases.append(Case(query=query, context=context, input_tokens=float(encoder.count_tokens(text))))
        view, config = runtime.view, runtime.config
        situation = Situation(
            view=view, now_us=0, exploration_floor=config.settings.floor, cost_weight=config.cost_weight,
            resources=config.resources,
        )  # fmt: skip
        # Its own choice, also while the baseline answers a part of the traffic, or all.
        for case, pledge in zip(cases, self._book.pledges([case.query for case in cases], view), strict=True):
            case.pledge = pledge
        decided = decide(situation, cases, np.zeros(len(cases)))
        if len(decided.rows) < len(cases):
            refused = first + min(set(range(len(cases))) - set(decided.rows))
            raise InvalidInputError(f"policy {runtime.name} has no arm that may answer prompt {refused}")
        return decided.draw.probability[:, [view.index[arm] for arm in offered]]


async def load_frozen(bench: Workbench, policy: str) -> FrozenPolicy:
    """What the policy has learned, its arms and its promise's terms. Raises NotFoundError, InvalidInputError."""
    runtime, storage = runtime_of(bench.runtimes, policy), bench.storage
    runtime.arms = tuple(await storage.arms.arms(policy)) or runtime.config.seed_arms
    if not any(arm.enabled and arm.recipe is None for arm in runtime.arms):
        raise InvalidInputError(f"policy {policy} has no enabled arm that is a model")
    runtime.usage = dict(await storage.arms.usage(policy))
    schema = runtime.builder.schema
    stored = await bench.learning.load(policy, schema.hash)
    state = PolicyState(schema=schema, settings=runtime.config.settings, arms=runtime.priors())
    segments = [(one.arm, one.epoch, one.sums) for one in stored.segments]
    pieces = state.applying(
        segments, version=stored.version, hyperparameters=stored.hyperparameters, learner=stored.learner
    )
    await Pace().through(pieces)
    runtime.state = state
    runtime.publish(state.snapshot(version=state.version), bench.clock.now_us())
    await AmountModels(runtimes={policy: runtime}, recent=storage.recent, arms=storage.arms).refresh()
    promising = make_promising(
        {policy: runtime}, storage.recent, storage.switches, bench.clock, Metrics(version="frozen")
    )
    await promising.keeping.start()  # which reads and solves once
    await promising.keeping.stop()
    return FrozenPolicy(bench, runtime, promising.books[policy])
