from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from banditd.bandit.policies.base import ArmPrior, PolicySettings
from banditd.bandit.state import PolicyState

ARMS = tuple("abcdef")


def taught(schema, draw_context, *, effect: float, shared: float, noise: float, rows: int = 1500):  # type: ignore[no-untyped-def]
    """A state taught by arms whose cluster effects have these standard deviations."""
    generator = np.random.default_rng(0)
    state = PolicyState(schema=schema, settings=PolicySettings(), arms=[ArmPrior(arm) for arm in ARMS])
    common = generator.normal(0, shared, 4) if shared else np.zeros(4)
    own = generator.normal(0, effect, (len(ARMS), 4)) if effect else np.zeros((len(ARMS), 4))
    for _ in range(rows):
        k = int(generator.integers(len(ARMS)))
        context = draw_context(generator)
        mean = 0.5 + common[context.cluster] + own[k, context.cluster]
        reward = float(np.clip(mean + generator.normal(0, noise), 0, 1))
        state.fold(arm=ARMS[k], epoch=0, x=context.x, weight=1.0, reward=reward)
    return state


def settled(state: PolicyState):  # type: ignore[no-untyped-def]
    """Fits until they have settled, as a running learner does."""
    for _ in range(4):
        state.adopt(state.tuning().run())
    return state.hyperparameters


def test_it_switches_a_group_on_that_matters_and_leaves_the_others_small(schema, draw_context) -> None:
    fitted = settled(taught(schema, draw_context, effect=0.15, shared=0.0, noise=0.1))
    assert 0.08 < fitted.own["cluster"] < 0.25
    assert fitted.own["lexical"] < 0.02
    assert fitted.own["embedding"] < 0.02


def test_it_tells_what_arms_share_from_what_sets_them_apart(schema, draw_context) -> None:
    fitted = settled(taught(schema, draw_context, effect=0.0, shared=0.2, noise=0.1))
    assert fitted.shared["cluster"] > 0.04  # the four effects drawn have a root mean square of 0.066
    assert fitted.own["cluster"] < 0.02


@pytest.mark.parametrize("noise", [0.05, 0.2])
def test_it_finds_the_noise(schema, draw_context, noise: float) -> None:
    fitted = settled(taught(schema, draw_context, effect=0.02, shared=0.02, noise=noise))
    for arm in ARMS:
        assert np.sqrt(fitted.noise_of(arm)) == pytest.approx(noise, rel=0.2)


def test_the_fit_is_near_the_top_of_the_evidence(schema, draw_context) -> None:
    state = taught(schema, draw_context, effect=0.1, shared=0.1, noise=0.15)
    task = state.tuning()
    fitted = settled(state)
    top = task.log_evidence(fitted)
    assert top > task.log_evidence(task.current)
    for factor in (0.5, 2.0):
        moved = replace(fitted, own=dict(fitted.own) | {"cluster": fitted.own["cluster"] * factor})
        assert task.log_evidence(moved) < top + 0.5  # the weak prior costs less than half a nat


def test_without_data_the_starting_values_stand(schema) -> None:
    state = PolicyState(schema=schema, settings=PolicySettings(), arms=[ArmPrior("a"), ArmPrior("b")])
    fitted = state.tuning().run()
    for name, value in state.hyperparameters.own.items():
        assert fitted.own[name] == pytest.approx(value, rel=0.01)


def test_a_fit_does_not_touch_the_state_it_came_from(schema, draw_context) -> None:
    state = taught(schema, draw_context, effect=0.1, shared=0.1, noise=0.1, rows=100)
    task = state.tuning()
    before = [arm.sums.pack() for arm in task.arms]
    state.fold(arm="a", epoch=0, x=draw_context(np.random.default_rng(1)).x, weight=1.0, reward=1.0)
    task.run()
    assert [arm.sums.pack() for arm in task.arms] == before
    assert state.hyperparameters is task.current
