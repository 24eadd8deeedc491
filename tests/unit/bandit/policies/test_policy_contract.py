"""The written contract of bandit/policies/base.py, for every registered policy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from tests import one_query

from banditd.bandit.policies.base import ArmPrior, PolicySettings
from banditd.bandit.policies.registry import POLICIES
from banditd.bandit.snapshot import Snapshot
from banditd.bandit.state import PolicyState
from banditd.core.contexts import Contexts
from banditd.core.errors import ConfigurationError
from banditd.core.types import Context, FeatureSchema

DrawContext = Callable[[np.random.Generator], Context]
OPTIONS: dict[str, dict[str, object]] = {
    "fixed": {"arm": "b"},
    "rules": {"rules": [{"cluster": 1, "arm": "c"}, {"fact": "words", "below": 0, "arm": "a"}], "default": "b"},
    "linucb": {"model": "hybrid"},
}
ARMS = ("a", "b", "c", "d")
MEANS = {"a": 0.3, "b": 0.5, "c": 0.6, "d": 0.7, "e": 0.4}


@pytest.fixture(params=sorted(POLICIES))
def settings(request: pytest.FixtureRequest) -> PolicySettings:
    return PolicySettings(kind=request.param, options=OPTIONS.get(request.param, {}))


@pytest.fixture
def taught(schema: FeatureSchema, settings: PolicySettings, draw_context: DrawContext) -> Callable[..., PolicyState]:
    def make(rows: int = 60, arms: tuple[str, ...] = ARMS, seed: int = 0) -> PolicyState:
        generator = np.random.default_rng(seed)
        state = PolicyState(schema=schema, settings=settings, arms=[ArmPrior(arm) for arm in arms])
        for _ in range(rows):
            arm = arms[int(generator.integers(len(arms)))]
            reward = float(generator.random() < MEANS[arm])
            state.fold(arm=arm, epoch=0, x=draw_context(generator).x, weight=1.0, reward=reward)
        return state

    return make


def everyone(snapshot: Snapshot) -> np.ndarray:
    return np.arange(len(snapshot.arms), dtype=np.intp)


def choose(snapshot: Snapshot, context: Context, uniform: float = 0.4, floor: float = 0.0):  # type: ignore[no-untyped-def]
    n = len(snapshot.arms)
    return one_query.choose(
        snapshot,
        context,
        arms=everyone(snapshot),
        penalty=np.linspace(0, 0.1, n),
        floors=np.full(n, floor),
        uniform=uniform,
    )


def test_probabilities_are_a_distribution_that_respects_the_floors(taught, draw_context) -> None:
    snapshot = taught().snapshot()
    generator = np.random.default_rng(1)
    for _ in range(50):
        context = draw_context(generator)
        allowed = np.ones((1, 4), dtype=bool)
        scores = snapshot.policy.scores(Contexts.of([context]), np.zeros((1, 4)), allowed)
        assert scores.probability.min() >= 0.0
        assert scores.probability.sum() == pytest.approx(1.0, abs=1e-12)
        choice = choose(snapshot, context, floor=0.02)
        assert choice.probability.min() >= 0.02 - 1e-15
        assert choice.probability.sum() == pytest.approx(1.0, abs=1e-12)
        assert np.isfinite(choice.mean).all()
        assert (choice.deviation >= 0).all()


def test_the_propensity_is_the_entry_of_the_vector_at_the_inverse_cdf_of_the_uniform(taught, draw_context) -> None:
    snapshot = taught().snapshot()
    generator = np.random.default_rng(2)
    for _ in range(50):
        uniform = float(generator.random())
        choice = choose(snapshot, draw_context(generator), uniform=uniform, floor=0.05)
        cdf = np.cumsum(choice.probability)
        assert choice.propensity == choice.probability[choice.index]
        assert (cdf[choice.index - 1] if choice.index else 0.0) <= uniform + 1e-12
        assert uniform < cdf[choice.index] + 1e-12
        assert choice.explored == (choice.index != choice.greedy)


def test_the_order_of_folds_does_not_matter(schema, settings, draw_context) -> None:
    generator = np.random.default_rng(3)
    rows = [
        (ARMS[int(generator.integers(4))], draw_context(generator).x, float(generator.random())) for _ in range(80)
    ]
    states = []
    for order in (range(80), reversed(range(80))):
        state = PolicyState(schema=schema, settings=settings, arms=[ArmPrior(arm) for arm in ARMS])
        for i in order:
            arm, x, reward = rows[i]
            state.fold(arm=arm, epoch=0, x=x, weight=0.7, reward=reward)
        states.append(state)
    context = draw_context(generator)
    first, second = (choose(state.snapshot(), context) for state in states)
    np.testing.assert_allclose(first.mean, second.mean, atol=1e-9)
    np.testing.assert_allclose(first.probability, second.probability, atol=1e-7)


def test_a_restored_state_chooses_identically(schema, settings, taught, draw_context) -> None:
    state = taught(rows=120)
    state.adopt(state.tuning().run())
    restored = PolicyState.restore(
        schema=schema,
        settings=settings,
        arms=state.arms,
        version=state.version,
        hyperparameters=state.hyperparameters_json(),
        learner=state.learner_json(),
        segments=state.segments(),
    )
    generator = np.random.default_rng(4)
    before, after = state.snapshot(), restored.snapshot()
    assert (restored.epoch, restored.folded) == (state.epoch, state.folded)
    for _ in range(20):
        context, uniform = draw_context(generator), float(generator.random())
        one, two = choose(before, context, uniform), choose(after, context, uniform)
        assert one.index == two.index
        np.testing.assert_allclose(one.probability, two.probability, atol=1e-9)


def test_the_inverse_is_an_inverse_at_birth_and_after_everything(taught, draw_context) -> None:
    state = taught(rows=0)
    assert state.inverse_error() < 1e-12
    generator = np.random.default_rng(5)
    x = draw_context(generator).x
    for step in range(700):
        state.fold(arm=ARMS[step % 4], epoch=0, x=draw_context(generator).x, weight=1.0, reward=0.5)
    assert state.inverse_error() < 1e-9
    state.fold(arm="a", epoch=0, x=x, weight=1.0, reward=1.0)
    state.fold(arm="a", epoch=0, x=x, weight=-1.0, reward=1.0)
    state.set_arms([*state.arms, ArmPrior("e", quality_prior=0.9)])
    assert state.inverse_error() < 1e-9


def test_adding_and_removing_an_arm_leaves_the_others_alone(taught) -> None:
    state = taught()
    before = {arm: state.sums(arm).pack() for arm in ARMS}
    state.set_arms([ArmPrior("e"), *(prior for prior in state.arms if prior.arm != "b")])
    snapshot = state.snapshot()
    assert snapshot.arms == ("e", "a", "c", "d")
    assert {arm: state.sums(arm).pack() for arm in ARMS} == before
    state.set_arms([ArmPrior(arm) for arm in ARMS])
    assert {arm: state.sums(arm).pack() for arm in ARMS} == before


def test_a_snapshot_never_changes(taught, draw_context) -> None:
    state = taught()
    snapshot = state.snapshot()
    generator = np.random.default_rng(6)
    context = draw_context(generator)
    before = choose(snapshot, context)
    for _ in range(30):
        state.fold(arm="a", epoch=0, x=draw_context(generator).x, weight=1.0, reward=1.0)
        state.snapshot()
    state.fold(arm="a", epoch=0, x=context.x, weight=-1.0, reward=0.0)
    state.adopt(state.tuning().run())
    state.snapshot()
    after = choose(snapshot, context)
    np.testing.assert_array_equal(before.probability, after.probability)
    np.testing.assert_array_equal(before.mean, after.mean)


def test_draws_come_with_the_logged_frequency(taught, draw_context) -> None:
    snapshot = taught().snapshot()
    generator = np.random.default_rng(7)
    context = draw_context(generator)
    n = 100_000
    vector = choose(snapshot, context, floor=0.01).probability
    cdf = np.cumsum(vector)
    uniforms = generator.random(n)
    sample = [choose(snapshot, context, uniform=float(u), floor=0.01).index for u in uniforms[:200]]
    drawn = np.searchsorted(cdf, uniforms, side="right")
    assert drawn[:200].tolist() == sample
    frequency = np.bincount(drawn, minlength=4) / n
    tolerance = 4.5 * np.sqrt(vector * (1 - vector) / n) + 1e-12
    assert (np.abs(frequency - vector) <= tolerance).all()


def test_one_eligible_arm_is_always_chosen(taught, draw_context) -> None:
    snapshot = taught(rows=5).snapshot()
    choice = one_query.choose(
        snapshot,
        draw_context(np.random.default_rng(8)),
        arms=np.array([2], dtype=np.intp),
        penalty=np.zeros(1),
        floors=np.zeros(1),
        uniform=0.999999,
    )
    assert (choice.index, choice.propensity, choice.explored) == (0, 1.0, False)


@pytest.mark.parametrize("reward", [0.0, 1.0, 0.5])
def test_constant_rewards_and_repeated_contexts_stay_finite(schema, settings, draw_context, reward: float) -> None:
    state = PolicyState(schema=schema, settings=settings, arms=[ArmPrior("a"), ArmPrior("b")])
    context = draw_context(np.random.default_rng(9))
    for step in range(60):
        weight = 1e-4 if step % 2 else 1e3
        state.fold(arm="ab"[step % 3 == 0], epoch=0, x=context.x, weight=weight, reward=reward)
        if state.tune_due():
            state.adopt(state.tuning().run())
        choice = choose(state.snapshot(), context)
        assert np.isfinite(choice.mean).all()
        assert np.isfinite(choice.deviation).all()
        assert choice.probability.sum() == pytest.approx(1.0)


def test_an_unknown_option_is_refused_by_name(schema, settings) -> None:
    with pytest.raises(ConfigurationError, match="no option 'nonsense'"):
        PolicyState(
            schema=schema,
            settings=PolicySettings(kind=settings.kind, options={"nonsense": 1}),
            arms=[ArmPrior("a")],
        )


def test_an_unknown_policy_is_refused_with_the_known_ones(schema) -> None:
    with pytest.raises(ConfigurationError, match=r"Unknown policy kind 'magic'.*thompson"):
        PolicyState(schema=schema, settings=PolicySettings(kind="magic"), arms=[])
