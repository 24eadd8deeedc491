from __future__ import annotations

import numpy as np
import pytest
from tests.one_query import predict

from banditd.bandit.policies.base import ArmPrior, PolicySettings
from banditd.bandit.posterior.ridge import run_through
from banditd.bandit.posterior.statistics import ArmSums
from banditd.bandit.state import PolicyState
from banditd.core.errors import ConfigurationError, InvalidInputError

ARMS = [ArmPrior("a"), ArmPrior("b")]


def rows_of(draw_context, n: int, epochs: int):  # type: ignore[no-untyped-def]
    generator = np.random.default_rng(0)
    return [
        (
            "ab"[int(generator.integers(2))],
            int(generator.integers(epochs)),
            draw_context(generator).x,
            float(generator.uniform(0.2, 1)),
            float(generator.random()),
        )
        for _ in range(n)
    ]


def fold_all(state: PolicyState, rows) -> None:  # type: ignore[no-untyped-def]
    for arm, epoch, x, weight, reward in rows:
        state.fold(arm=arm, epoch=epoch, x=x, weight=weight, reward=reward)


def restored(state: PolicyState) -> PolicyState:
    return PolicyState.restore(
        schema=state.schema,
        settings=state.settings,
        arms=state.arms,
        version=state.version,
        hyperparameters=state.hyperparameters_json(),
        learner=state.learner_json(),
        segments=state.segments(),
    )


def assert_same_sums(one: ArmSums, two: ArmSums) -> None:
    np.testing.assert_allclose(one.gram, two.gram, atol=1e-9)
    np.testing.assert_allclose(one.xr, two.xr, atol=1e-9)
    np.testing.assert_allclose([one.n, one.wr, one.wrr], [two.n, two.wr, two.wrr], atol=1e-9)


def test_late_rewards_and_refolding_the_log_give_the_same_sums_also_after_merging(schema, draw_context) -> None:
    settings = PolicySettings(forgetting=80.0, epoch_decisions=40, live_epochs=3)
    rows = rows_of(draw_context, 200, epochs=9)
    live = PolicyState(schema=schema, settings=settings, arms=ARMS)
    fold_all(live, rows)  # epochs come in any order: most rewards are late
    live.advance_to(12)
    in_order = PolicyState(schema=schema, settings=settings, arms=ARMS)
    fold_all(in_order, sorted(rows, key=lambda row: row[1]))
    in_order.advance_to(12)
    assert live.epoch == in_order.epoch == 12
    for arm in "ab":
        assert_same_sums(live.sums(arm), in_order.sums(arm))
    assert {label for _, label, _ in live.segments()} == {-1} | {label for _, label, _ in in_order.segments()} - {-1}


def test_forgetting_halves_evidence_at_its_half_life_and_never_the_prior(schema, draw_context) -> None:
    settings = PolicySettings(forgetting=100.0, epoch_decisions=50, live_epochs=2)
    state = PolicyState(schema=schema, settings=settings, arms=ARMS)
    fold_all(state, [("a", 0, draw_context(np.random.default_rng(1)).x, 1.0, 1.0) for _ in range(10)])
    full = state.sums("a")
    for _ in range(2):
        state.advance()
    assert state.sums("a").n == pytest.approx(full.n / 2)
    for _ in range(2000):
        state.advance()
    assert state.inverse_error() < 1e-9
    _, deviation = predict(state.snapshot(), draw_context(np.random.default_rng(2)))
    assert (deviation < 1.0).all()  # with a discounted prior it would grow without bound


def test_epochs_roll_by_the_number_of_rewards(schema, draw_context) -> None:
    state = PolicyState(schema=schema, settings=PolicySettings(epoch_decisions=10), arms=ARMS)
    rows = rows_of(draw_context, 25, epochs=1)
    fold_all(state, rows)
    assert state.epoch == 2


def test_a_subtracted_reward_was_never_there(schema, draw_context) -> None:
    rows = rows_of(draw_context, 50, epochs=2)
    with_it, without = (PolicyState(schema=schema, settings=PolicySettings(), arms=ARMS) for _ in range(2))
    fold_all(with_it, rows)
    with_it.snapshot()
    fold_all(with_it, [(arm, epoch, x, -weight, reward) for arm, epoch, x, weight, reward in rows[20:30]])
    fold_all(without, rows[:20] + rows[30:])
    for arm in "ab":
        assert_same_sums(with_it.sums(arm), without.sums(arm))
    context = draw_context(np.random.default_rng(3))
    for one, two in zip(
        predict(with_it.snapshot(), context),
        predict(without.snapshot(), context),
        strict=True,
    ):
        np.testing.assert_allclose(one, two, atol=1e-9)


def test_touched_segments_rebuild_a_follower(schema, draw_context) -> None:
    settings = PolicySettings(forgetting=200.0, epoch_decisions=20, live_epochs=2)
    leader = PolicyState(schema=schema, settings=settings, arms=ARMS)
    follower = PolicyState(schema=schema, settings=settings, arms=ARMS)
    store: dict[tuple[str, int], bytes] = {}
    context = draw_context(np.random.default_rng(4))
    for version, start in enumerate(range(0, 150, 15), start=1):
        for arm, _, x, weight, reward in rows_of(draw_context, 150, 1)[start : start + 15]:
            leader.fold(arm=arm, epoch=leader.epoch, x=x, weight=weight, reward=reward)
        touched, dropped = leader.take_touched()
        store.update({(arm, label): data for arm, label, data in touched})
        for key in dropped:
            store.pop(key, None)
        pieces = follower.applying(
            touched,
            version=version,
            hyperparameters=leader.hyperparameters_json(),
            learner=leader.learner_json(),
        )
        run_through(pieces)
        expected = predict(leader.snapshot(), context)
        got = predict(follower.snapshot(), context)
        np.testing.assert_allclose(got[0], expected[0], atol=1e-9)
        assert follower.snapshot().version == version
    assert store == {(arm, label): data for arm, label, data in leader.segments()}
    assert leader.take_touched() == ([], [])


def test_a_removed_arm_comes_back_with_its_rewards(schema, draw_context) -> None:
    state = PolicyState(schema=schema, settings=PolicySettings(), arms=ARMS)
    fold_all(state, rows_of(draw_context, 30, 1))
    before = state.sums("a").pack()
    state.set_arms([ArmPrior("b")])
    state.fold(arm="a", epoch=0, x=draw_context(np.random.default_rng(5)).x, weight=1.0, reward=1.0)
    assert state.snapshot().arms == ("b",)
    state.set_arms(ARMS)
    assert state.sums("a").n == ArmSums.unpack(before).n + 1


def test_an_unchanged_state_gives_the_same_snapshot_and_a_named_version_is_kept(schema, draw_context) -> None:
    state = PolicyState(schema=schema, settings=PolicySettings(), arms=ARMS)
    first = state.snapshot()
    assert state.snapshot() is first
    assert state.snapshot(version=41).version == 41
    fold_all(state, rows_of(draw_context, 1, 1))
    assert state.snapshot().version == 42


def test_refits_come_ever_more_rarely(schema, draw_context) -> None:
    state = PolicyState(schema=schema, settings=PolicySettings(), arms=ARMS)
    fits = []
    for i, row in enumerate(rows_of(draw_context, 2000, 1)):
        fold_all(state, [row])
        if state.tune_due():
            task = state.tuning()
            state.adopt(task.current)
            fits.append(i + 1)
    assert fits[0] == 20
    assert 20 < len(fits) < 60
    gaps = np.diff(fits)
    assert gaps[-1] > 10 * gaps[0]


def test_without_tuning_no_fit_is_ever_due(schema, draw_context) -> None:
    state = PolicyState(schema=schema, settings=PolicySettings(tune=False), arms=ARMS)
    fold_all(state, rows_of(draw_context, 100, 1))
    assert not state.tune_due()
    assert not state.tune_due(requested=True)


def test_a_refit_that_is_asked_for_is_due_only_after_something_was_learned(schema, draw_context) -> None:
    state = PolicyState(schema=schema, settings=PolicySettings(), arms=ARMS)
    rows = rows_of(draw_context, 22, 1)
    fold_all(state, rows[:19])
    assert not state.tune_due(requested=True)
    fold_all(state, rows[19:21])
    assert state.tune_due(requested=True)
    state.adopt(state.tuning().run())
    assert not state.tune_due(requested=True)
    fold_all(state, rows[21:])
    assert not state.tune_due()
    assert restored(state).tune_due(requested=True)
    state.adopt(state.tuning().run())
    assert not restored(state).tune_due(requested=True)
    arm, epoch, x, weight, reward = rows[0]
    state.fold(arm=arm, epoch=epoch, x=x, weight=-weight, reward=reward)
    state.fold(arm=arm, epoch=epoch, x=x, weight=weight, reward=1 - reward, first=False)
    assert state.folded == 22
    assert state.tune_due(requested=True)


def test_cluster_means_follow_the_rewards_of_the_clusters(schema, draw_context) -> None:
    state = PolicyState(schema=schema, settings=PolicySettings(), arms=ARMS)
    generator = np.random.default_rng(6)
    for _ in range(800):
        context = draw_context(generator)
        good = context.cluster == 2
        state.fold(
            arm="a", epoch=0, x=context.x, weight=1.0, reward=float(generator.random() < (0.9 if good else 0.2))
        )
    state.adopt(state.tuning().run())
    mean, deviation = state.snapshot().predict(state.cluster_contexts())
    assert mean.shape == deviation.shape == (4, 2)
    assert mean[2, 0] > 0.75
    assert (mean[[0, 1, 3], 0] < 0.35).all()


@pytest.mark.parametrize("x", [np.ones(3), np.full(12, np.nan)])
def test_a_bad_context_is_refused_and_changes_nothing(schema, x) -> None:
    state = PolicyState(schema=schema, settings=PolicySettings(), arms=ARMS)
    with pytest.raises(InvalidInputError):
        state.fold(arm="a", epoch=0, x=x, weight=1.0, reward=1.0)
    assert state.segments() == []


def test_an_arm_named_twice_is_refused(schema) -> None:
    with pytest.raises(ConfigurationError, match="twice"):
        PolicyState(schema=schema, settings=PolicySettings(), arms=[ArmPrior("a"), ArmPrior("a")])
