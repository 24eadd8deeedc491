"""A snapshot that serves many queries answers them as it answered its first."""

from __future__ import annotations

import numpy as np

from banditd.bandit.policies.base import ArmPrior, PolicySettings
from banditd.bandit.posterior.posterior import STACK_AFTER
from banditd.bandit.state import PolicyState
from banditd.core.types import Context, FeatureGroup, FeatureSchema


def test_moments_do_not_change_when_the_matrices_are_stacked() -> None:
    rng = np.random.default_rng(3)
    groups = (FeatureGroup("bias", 0, 1), FeatureGroup("embedding", 1, 6), FeatureGroup("cluster", 6, 9))
    schema = FeatureSchema(
        version=1,
        hash="s",
        groups=groups,
        names=tuple(f"x{i}" for i in range(9)),
        encoder_id="e",
        embedding_dimension=2,
        n_clusters=3,
    )
    names = [f"arm{i}" for i in range(7)]
    state = PolicyState(schema=schema, settings=PolicySettings(), arms=[ArmPrior(name) for name in names])
    for i in range(60):
        x = np.concatenate([[1.0], rng.normal(size=8)])
        state.fold(arm=names[i % 7], epoch=0, x=x, weight=1.0, reward=float(rng.random()))
    snapshot = state.snapshot()
    context = Context(x=np.concatenate([[1.0], rng.normal(size=8)]), cluster=0)
    choices = [np.arange(7), np.array([6, 2, 0, 5]), np.array([3])]
    first = [snapshot.predict(context, arms) for arms in choices]
    for _ in range(STACK_AFTER):
        snapshot.predict(context, choices[0])
    for arms, before in zip(choices, first, strict=True):
        np.testing.assert_allclose(snapshot.predict(context, arms), before, rtol=1e-12)
