"""The pooled posterior and its evidence against the joint Gaussian written out in full."""

from __future__ import annotations

import numpy as np
import pytest
from tests.one_query import predict

from banditd.bandit.policies.base import ArmPrior, PolicySettings
from banditd.bandit.posterior.hyperparameters import CENTRE, Hyperparameters
from banditd.bandit.posterior.posterior import Moments
from banditd.bandit.state import PolicyState
from banditd.services.reports.contrast import combination

ARMS = ("a", "b", "c")


@pytest.fixture
def scales(schema) -> Hyperparameters:
    names = [group.name for group in schema.groups]
    return Hyperparameters(
        shared=dict(zip(names, (0.3, 0.2, 0.1, 0.15), strict=True)),
        own=dict(zip(names, (0.2, 0.1, 0.05, 0.1), strict=True)),
        noise={"a": 0.2, "b": 0.1, "c": 0.15},
    )


def rows_of(draw_context, n: int = 40):  # type: ignore[no-untyped-def]
    generator = np.random.default_rng(0)
    arm = generator.integers(2, size=n)  # arm c is never seen
    x = np.stack([draw_context(generator).x for _ in range(n)])
    return arm, x, generator.random(n), generator.uniform(0.3, 2.0, n)


def joint(schema, scales, arm, x, reward, weight):  # type: ignore[no-untyped-def]
    """Mean and covariance of the stacked theta_a, and the log marginal likelihood, by brute force."""
    d = x.shape[1]
    v0, v1 = np.diag(scales.shared_variance(schema)), np.diag(scales.own_variance(schema))
    prior = np.kron(np.ones((3, 3)), v0) + np.kron(np.eye(3), v1)
    design = np.zeros((len(arm), 3 * d))
    for i, a in enumerate(arm):
        design[i, a * d : (a + 1) * d] = x[i]
    noise = np.array([scales.noise[ARMS[a]] for a in arm]) / weight
    marginal = design @ prior @ design.T + np.diag(noise)
    gain = prior @ design.T @ np.linalg.inv(marginal)
    residual = reward - CENTRE
    mean = gain @ residual
    covariance = prior - gain @ design @ prior
    _, logdet = np.linalg.slogdet(2 * np.pi * marginal)
    return mean.reshape(3, d), covariance, -0.5 * (logdet + residual @ np.linalg.solve(marginal, residual))


def test_means_variances_and_contrasts_are_those_of_the_joint_gaussian(schema, scales, draw_context) -> None:
    arm, x, reward, weight = rows_of(draw_context)
    state = PolicyState(schema=schema, settings=PolicySettings(), arms=[ArmPrior(name) for name in ARMS])
    state.adopt(scales)
    state.snapshot()
    for i in range(len(arm)):
        state.fold(arm=ARMS[arm[i]], epoch=0, x=x[i], weight=weight[i], reward=reward[i])
    mean, covariance, _ = joint(schema, scales, arm, x, reward, weight)
    posterior = state.snapshot().posterior
    np.testing.assert_allclose(posterior.coefficients(), mean, atol=1e-9)
    query = draw_context(np.random.default_rng(1)).x
    lift = np.kron(np.eye(3), query)  # (3, 3d)
    cross = lift @ covariance @ lift.T
    penalty, allowed = np.array([[0.0, 0.05, 0.0]]), np.ones((1, 3), dtype=bool)
    moments = Moments(*(part[0] for part in posterior.moments(query[None, :], penalty, allowed)))
    np.testing.assert_allclose(moments.mean, CENTRE + mean @ query, atol=1e-9)
    np.testing.assert_allclose(moments.variance, np.diag(cross), atol=1e-9)
    lead = int(moments.utility.argmax())
    for other in range(3):
        if other != lead:
            difference = cross[lead, lead] + cross[other, other] - 2 * cross[lead, other]
            assert moments.contrast[lead] + moments.contrast[other] == pytest.approx(difference, abs=1e-9)


def test_the_evidence_is_the_marginal_likelihood_of_the_joint_gaussian(schema, scales, draw_context) -> None:
    arm, x, reward, _ = rows_of(draw_context)
    weight = np.ones(len(arm))
    state = PolicyState(schema=schema, settings=PolicySettings(), arms=[ArmPrior(name) for name in ARMS])
    for i in range(len(arm)):
        state.fold(arm=ARMS[arm[i]], epoch=0, x=x[i], weight=1.0, reward=reward[i])
    expected = joint(schema, scales, arm, x, reward, weight)[2]
    assert state.tuning().log_evidence(scales) == pytest.approx(expected, abs=1e-7)


def test_a_quality_prior_counts_as_that_many_rewards(schema, draw_context) -> None:
    context = draw_context(np.random.default_rng(2))
    arms = [ArmPrior("good", quality_prior=0.9, prior_worth=1000.0), ArmPrior("unknown")]
    snapshot = PolicyState(schema=schema, settings=PolicySettings(), arms=arms).snapshot()
    mean, deviation = predict(snapshot, context)
    assert mean[0] == pytest.approx(0.9, abs=0.02)
    assert 0.5 < mean[1] < mean[0]  # what the pool has in common rises with it
    assert deviation[0] < deviation[1]


def test_an_unseen_arm_is_expected_to_be_like_the_others(schema, draw_context) -> None:
    generator = np.random.default_rng(3)
    state = PolicyState(schema=schema, settings=PolicySettings(), arms=[ArmPrior(name) for name in ARMS])
    for i in range(200):
        state.fold(
            arm=ARMS[i % 2], epoch=0, x=draw_context(generator).x, weight=1.0, reward=float(generator.random() < 0.9)
        )
    mean, deviation = predict(state.snapshot(), draw_context(generator))
    assert 0.7 < mean[2] < 1.0
    assert deviation[2] > 1.2 * deviation[0]


def test_disjoint_arms_do_not_learn_from_each_other(schema, draw_context) -> None:
    generator = np.random.default_rng(4)
    state = PolicyState(
        schema=schema,
        settings=PolicySettings(options={"model": "disjoint"}),
        arms=[ArmPrior(name) for name in ARMS],
    )
    context = draw_context(generator)
    before = predict(state.snapshot(), context)
    for _ in range(50):
        state.fold(arm="a", epoch=0, x=draw_context(generator).x, weight=1.0, reward=1.0)
    after = predict(state.snapshot(), context)
    np.testing.assert_array_equal(before[0][1:], after[0][1:])
    np.testing.assert_array_equal(before[1][1:], after[1][1:])
    assert after[0][0] > before[0][0] + 0.2


def test_a_dearer_arm_is_expected_to_be_a_little_better_until_rewards_say_otherwise(schema, draw_context) -> None:
    arms = [ArmPrior("cheap", cost_usd=1e-5), ArmPrior("dear", cost_usd=1e-3), ArmPrior("unknown")]
    state = PolicyState(schema=schema, settings=PolicySettings(), arms=arms)
    generator = np.random.default_rng(5)
    mean, _ = predict(state.snapshot(), draw_context(generator))
    assert mean[0] < mean[2] < mean[1]
    assert mean[1] - mean[0] <= 0.1 + 1e-12
    for _ in range(100):
        state.fold(arm="cheap", epoch=0, x=draw_context(generator).x, weight=1.0, reward=0.8)
        state.fold(arm="dear", epoch=0, x=draw_context(generator).x, weight=1.0, reward=0.6)
    mean, _ = predict(state.snapshot(), draw_context(generator))
    assert mean[0] > mean[1] + 0.1


def test_equal_or_unknown_prices_say_nothing(schema) -> None:
    for costs in ((None, None), (0.01, 0.01), (0.0, 0.01), (0.02, None)):
        arms = [ArmPrior(name, cost_usd=cost) for name, cost in zip("ab", costs, strict=True)]
        posterior = PolicyState(schema=schema, settings=PolicySettings(), arms=arms).snapshot().posterior
        np.testing.assert_array_equal(posterior.centre, CENTRE)


@pytest.mark.parametrize("model", ["pooled", "disjoint"])
def test_weighted_sums_over_arms_and_contexts_are_those_of_the_joint_gaussian(schema, scales, draw_context, model):
    arm, x, reward, weight = rows_of(draw_context)
    settings = PolicySettings(options={"model": model})
    state = PolicyState(schema=schema, settings=settings, arms=[ArmPrior(name) for name in ARMS])
    if model == "disjoint":  # every arm alone, as wide as both parts together
        names = scales.own.keys()
        whole = {name: float(np.hypot(scales.shared[name], scales.own[name])) for name in names}
        flat = Hyperparameters(shared=dict.fromkeys(names, 1e-12), own=whole, noise=scales.noise)
    state.adopt(scales)
    for i in range(len(arm)):
        state.fold(arm=ARMS[arm[i]], epoch=0, x=x[i], weight=weight[i], reward=reward[i])
    mean, covariance, _ = joint(schema, scales if model == "pooled" else flat, arm, x, reward, weight)
    generator = np.random.default_rng(3)
    rows = np.stack([draw_context(generator).x for _ in range(3)]) * np.array([[1.0], [-0.3], [-0.7]])
    got = combination(state.snapshot().posterior, rows)
    assert got[0] == pytest.approx(CENTRE * rows[:, 0].sum() + np.vdot(rows, mean), abs=1e-5)
    assert got[1] == pytest.approx(rows.ravel() @ covariance @ rows.ravel(), abs=1e-5)
    assert combination(state.snapshot().posterior, np.zeros_like(rows)) == (0.0, 0.0)
