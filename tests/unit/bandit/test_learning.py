"""Whole runs on simulated arms whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from tests.one_query import choose

from banditd.bandit.policies.base import ArmPrior, PolicySettings
from banditd.bandit.state import PolicyState


def play(schema, draw_context, mean_of, *, kind: str, arms: int, rows: int, seed: int) -> np.ndarray:  # type: ignore[no-untyped-def]
    """Regret of every decision against the best arm of its context."""
    generator = np.random.default_rng(seed)
    names = [f"m{i}" for i in range(arms)]
    state = PolicyState(schema=schema, settings=PolicySettings(kind=kind), arms=[ArmPrior(n) for n in names])
    everyone, nothing = np.arange(arms), np.zeros(arms)
    regret = np.zeros(rows)
    for t in range(rows):
        context, snapshot = draw_context(generator), state.snapshot()
        choice = choose(
            snapshot, context, arms=everyone, penalty=nothing, floors=nothing, uniform=float(generator.random())
        )
        means = mean_of(context)
        regret[t] = means.max() - means[choice.index]
        reward = float(generator.random() < means[choice.index])
        state.fold(arm=names[choice.index], epoch=snapshot.epoch, x=context.x, weight=1.0, reward=reward)
        if state.tune_due():
            state.adopt(state.tuning().run())
    return regret


@pytest.mark.parametrize("kind", ["thompson", "linucb", "squarecb", "epsilon_greedy", "cluster_table"])
def test_every_learner_finds_a_clearly_best_arm(schema, draw_context, kind: str) -> None:
    truth = np.array([0.3, 0.4, 0.8, 0.5])
    regret = play(schema, draw_context, lambda _c: truth, kind=kind, arms=4, rows=800, seed=0)
    uniform = truth.max() - truth.mean()
    assert regret[-200:].mean() < 0.3 * uniform


@pytest.mark.parametrize("kind", ["thompson", "linucb", "cluster_table"])
def test_contextual_learners_send_each_cluster_to_its_own_arm(schema, draw_context, kind: str) -> None:
    table = np.array([[0.8, 0.3], [0.2, 0.7], [0.7, 0.3], [0.3, 0.9]])
    regret = play(schema, draw_context, lambda c: table[c.cluster], kind=kind, arms=2, rows=1500, seed=1)
    fixed = table.max(axis=1).mean() - table.mean(axis=0).max()
    assert regret[-400:].mean() < 0.35 * fixed
