"""What one arm's rewards cannot tell must not keep the other arms out."""

from __future__ import annotations

import numpy as np
import pytest
from tests.one_query import choose

from banditd.bandit.policies.base import ArmPrior, PolicySettings
from banditd.bandit.posterior.hyperparameters import Hyperparameters, expected_own
from banditd.bandit.state import PolicyState


def one_sided(schema, draw_context, *, others: int) -> PolicyState:  # type: ignore[no-untyped-def]
    """Arm a has answered 600 times with large differences between clusters; b and c ``others`` times each."""
    generator = np.random.default_rng(0)
    state = PolicyState(schema=schema, settings=PolicySettings(), arms=[ArmPrior(arm) for arm in "abc"])
    easy = np.array([0.85, 0.7, 0.6, 0.3])
    for arm, rows in (("a", 600), ("b", others), ("c", others)):
        for _ in range(rows):
            context = draw_context(generator)
            reward = float(generator.random() < easy[context.cluster])
            state.fold(arm=arm, epoch=0, x=context.x, weight=1.0, reward=reward)
    for _ in range(3):
        state.adopt(state.tuning().run())
    return state


def test_scales_that_one_arm_cannot_tell_stay_open(schema, draw_context) -> None:
    scales = one_sided(schema, draw_context, others=4).hyperparameters
    # The top stays at what is expected before data say more; only the average over what they leave open is wide.
    assert scales.own["cluster"] == pytest.approx(expected_own(scales.shared)["cluster"], rel=0.25)
    assert scales.averaged["cluster"] > 1.2 * scales.own["cluster"]
    assert scales.averaged["cluster"] > 0.06


def test_arms_that_were_seen_to_be_alike_close_them(schema, draw_context) -> None:
    few = one_sided(schema, draw_context, others=4).hyperparameters.averaged["cluster"]
    many = one_sided(schema, draw_context, others=600).hyperparameters.averaged["cluster"]
    assert many < 0.6 * few


def test_the_posterior_works_with_the_averaged_scales_and_they_survive_storage(schema, draw_context) -> None:
    state = one_sided(schema, draw_context, others=4)
    again = Hyperparameters.from_json(state.hyperparameters_json(), schema)
    assert again == state.hyperparameters
    state.snapshot()
    np.testing.assert_allclose(state._ridge._own_precision, 1.0 / again.averaged_variance(schema))
    assert (again.averaged_variance(schema)[1:] > again.own_variance(schema)[1:]).all()


def test_scales_stored_without_averages_are_taken_as_they_are(schema) -> None:
    start = Hyperparameters.start(schema)
    np.testing.assert_array_equal(start.averaged_variance(schema), start.own_variance(schema))


def test_disjoint_arms_share_nothing_that_could_be_mistaken(schema) -> None:
    settings = PolicySettings(options={"model": "disjoint"})
    state = PolicyState(schema=schema, settings=settings, arms=[ArmPrior("a"), ArmPrior("b")])
    assert state.tuning().run().averaged == {}


def test_a_neglected_specialist_is_found(schema, draw_context) -> None:
    """One arm is best in three clusters of four; another, unlike the rest, in the fourth."""
    truth = np.array([[0.8, 0.5, 0.5], [0.8, 0.5, 0.5], [0.75, 0.5, 0.5], [0.4, 0.7, 0.5]])
    shares = []
    for seed in range(5, 10):
        generator = np.random.default_rng(seed)
        state = PolicyState(schema=schema, settings=PolicySettings(), arms=[ArmPrior(arm) for arm in "abc"])
        everyone, nothing, found = np.arange(3), np.zeros(3), []
        for _ in range(1500):
            context, snapshot = draw_context(generator), state.snapshot()
            choice = choose(
                snapshot, context, arms=everyone, penalty=nothing, floors=nothing, uniform=float(generator.random())
            )
            if context.cluster == 3:
                found.append(choice.index == 1)
            reward = float(generator.random() < truth[context.cluster, choice.index])
            state.fold(arm="abc"[choice.index], epoch=0, x=context.x, weight=1.0, reward=reward)
            if state.tune_due():
                state.adopt(state.tuning().run())
        shares.append(np.mean(found[-120:]))
    assert np.mean(shares) > 0.75
