from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from tests import one_query

from banditd.bandit.policies.base import ArmPrior, PolicySettings
from banditd.bandit.posterior.hyperparameters import CENTRE, PRICE_REACH, TIER_STEP, centres
from banditd.bandit.posterior.prior import MOST_WORTH, Prior
from banditd.bandit.posterior.statistics import ArmSums
from banditd.bandit.state import PolicyState
from banditd.core.errors import ConfigurationError
from banditd.core.types import QUALITY_TIERS

ARMS = [ArmPrior("a"), ArmPrior("b")]
BOTH = np.arange(2)


def rows_of(draw_context, n: int, seed: int = 0):  # type: ignore[no-untyped-def]
    """``a`` earns .8 or so, ``b`` .3."""
    generator = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        arm = "ab"[i % 2]
        reward = float(np.clip((0.8 if arm == "a" else 0.3) + 0.1 * generator.normal(), 0, 1))
        rows.append((arm, draw_context(generator).x, float(generator.uniform(0.5, 1)), reward))
    return rows


def state_of(schema, rows=(), arms=ARMS, **settings) -> PolicyState:  # type: ignore[no-untyped-def]
    state = PolicyState(schema=schema, settings=PolicySettings(**settings), arms=arms)
    for arm, x, weight, reward in rows:
        state.fold(arm=arm, epoch=state.epoch, x=x, weight=weight, reward=reward)
    return state


@pytest.fixture
def prior(schema, draw_context) -> Prior:
    state = state_of(schema, rows_of(draw_context, 400))
    state.adopt(state.tuning().run())
    return state.to_prior("four hundred rewards")


def predict(state: PolicyState, context):  # type: ignore[no-untyped-def]
    return one_query.predict(state.snapshot(), context)


def test_a_prior_survives_its_text_exactly(prior: Prior) -> None:
    again = Prior.from_json(prior.to_json())
    assert again.to_json() == prior.to_json()
    assert (again.schema_hash, again.source, again.rewards) == ("test", "four hundred rewards", 400.0)
    for name in "ab":
        assert again.arms[name].pack() == prior.arms[name].pack()
    assert json.loads(prior.to_json())["kind"] == "banditd-prior"


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda text: text.replace('"source": "four', '"source": "five'), "checksum"),
        (lambda text: text.replace("AAA", "AAB", 1), "checksum"),
        (lambda text: text[: len(text) // 2], "not JSON"),
        (lambda text: text.replace("banditd-prior", "banditd-other"), "kind"),
        (lambda text: text.replace('"format": 1', '"format": 99'), "format 99"),
        (lambda _: "[1, 2]", "kind"),
        (lambda _: "", "not JSON"),
    ],
)
def test_a_damaged_or_foreign_file_is_refused(prior: Prior, change, what: str) -> None:  # type: ignore[no-untyped-def]
    text = change(prior.to_json())
    assert text != prior.to_json()
    with pytest.raises(ConfigurationError, match=what):
        Prior.from_json(text)


def test_a_file_without_rewards_is_refused(schema) -> None:  # type: ignore[no-untyped-def]
    empty = state_of(schema).to_prior("nothing")
    with pytest.raises(ConfigurationError, match="no rewards"):
        Prior.from_json(empty.to_json())


def test_another_feature_schema_is_refused_at_the_start(schema, prior: Prior) -> None:
    with pytest.raises(ConfigurationError, match=r"four hundred rewards.*schema test.*other"):
        state_of(replace(schema, hash="other"), prior=prior)
    with pytest.raises(ConfigurationError, match="number of features"):
        state_of(schema, prior=replace(prior, arms={"a": ArmSums(3)}))
    with pytest.raises(ConfigurationError, match="hyperparameters"):
        state_of(schema, prior=replace(prior, hyperparameters="{}"))


def test_a_prior_worth_what_it_was_made_from_equals_folding_the_same_rewards(schema, draw_context, prior) -> None:
    rows = rows_of(draw_context, 60, seed=1)
    folded = state_of(schema, [*rows_of(draw_context, 400), *rows])
    folded.adopt(state_of(schema, prior=prior).hyperparameters)
    warm = state_of(schema, rows[:1], prior=prior.rescaled())
    warm.snapshot()  # from here on by rank-one updates
    for arm, x, weight, reward in rows[1:]:
        warm.fold(arm=arm, epoch=0, x=x, weight=weight, reward=reward)
    assert warm.folded == 60
    context = draw_context(np.random.default_rng(5))
    for one, two in zip(predict(warm, context), predict(folded, context), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-9)
    np.testing.assert_allclose(warm.cluster_contexts(), folded.cluster_contexts(), atol=1e-9)
    assert warm.inverse_error() < 1e-9
    np.testing.assert_allclose(warm.snapshot().posterior.counts, folded.snapshot().posterior.counts)
    fits = [state.tuning().run() for state in (warm, folded)]
    assert fits[0].log_evidence == pytest.approx(fits[1].log_evidence, rel=1e-6)


def test_its_worth_is_how_many_rewards_it_counts_as(schema, draw_context, prior: Prior) -> None:
    context = draw_context(np.random.default_rng(5))
    assert prior.rescaled(37.0).rewards == pytest.approx(37.0)
    assert prior.rewards == 400.0  # the original stays
    cold, barely, fully = (
        predict(state_of(schema, prior=p), context) for p in (None, prior.rescaled(1.0), prior.rescaled(400.0))
    )
    gap = [float(mean[0] - mean[1]) for mean, _ in (cold, barely, fully)]
    assert gap[0] == pytest.approx(0.0)
    assert 0.0 < gap[1] < 0.1
    assert gap[2] > 0.4
    assert state_of(schema, prior=prior.rescaled(1.0)).hyperparameters.common_noise > 0.1  # fitted: about 0.01
    assert (fully[1] < barely[1]).all()
    for wrong in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ConfigurationError, match="positive"):
            prior.rescaled(wrong)


def test_by_default_it_counts_in_full_up_to_a_limit_that_forgetting_lowers(prior: Prior) -> None:
    assert prior.default_worth() == 400.0
    many = replace(prior, arms=prior.rescaled(50_000.0).arms)
    assert many.rescaled().rewards == pytest.approx(MOST_WORTH)
    evidence_grows_to = 300 / np.log(2)
    assert many.rescaled(half_life=300.0).rewards == pytest.approx(0.25 * evidence_grows_to)


def test_forgetting_never_touches_it_and_it_belongs_to_no_segment(schema, draw_context, prior: Prior) -> None:
    state = state_of(
        schema, rows_of(draw_context, 20, seed=2), prior=prior, forgetting=50.0, epoch_decisions=50, live_epochs=2
    )
    context = draw_context(np.random.default_rng(5))
    for _ in range(100):
        state.advance()
    old = predict(state, context)
    fresh = predict(state_of(schema, prior=prior), context)
    np.testing.assert_allclose(old[0], fresh[0], atol=1e-6)
    assert sum(ArmSums.unpack(data).n for _, _, data in state.segments()) < 1e-6
    assert json.loads(state.learner_json())["folded"] == 20


def test_a_restored_state_with_the_file_read_again_is_the_same(schema, draw_context, prior: Prior) -> None:
    state = state_of(schema, rows_of(draw_context, 50, seed=3), prior=prior)
    state.adopt(state.tuning().run())
    back = PolicyState.restore(
        schema=schema,
        settings=PolicySettings(prior=Prior.from_json(prior.to_json())),
        arms=ARMS,
        version=4,
        hyperparameters=state.hyperparameters_json(),
        learner=state.learner_json(),
        segments=state.segments(),
    )
    context = draw_context(np.random.default_rng(5))
    for one, two in zip(predict(back, context), predict(state, context), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-12)


def test_an_arm_it_does_not_know_is_expected_to_be_like_the_others(schema, draw_context, prior: Prior) -> None:
    state = state_of(schema, arms=[*ARMS, ArmPrior("new")], prior=prior)
    mean, deviation = predict(state, draw_context(np.random.default_rng(5)))
    assert mean[1] < mean[2] < mean[0]
    assert deviation[2] > deviation[:2].max()


def test_an_arm_that_is_not_here_changes_nothing(schema, draw_context, prior: Prior) -> None:
    context = draw_context(np.random.default_rng(5))
    only = replace(prior, arms={"a": prior.arms["a"]})
    pair = [state_of(schema, arms=[ArmPrior("a")], prior=p) for p in (prior, only)]
    for one, two in zip(predict(pair[0], context), predict(pair[1], context), strict=True):
        np.testing.assert_allclose(one, two)


def test_a_prior_of_a_warm_started_state_holds_both(schema, draw_context, prior: Prior) -> None:
    state = state_of(schema, rows_of(draw_context, 30, seed=4), prior=prior.rescaled(100.0))
    assert state.to_prior("").rewards == pytest.approx(130.0)


# ---------------------------------------------------------------- quality tiers


def test_tiers_shift_what_is_expected_before_data_and_replace_the_price() -> None:
    np.testing.assert_allclose(np.diff(centres([None] * 4, QUALITY_TIERS)), TIER_STEP)
    assert centres([None] * 4, QUALITY_TIERS).mean() == pytest.approx(CENTRE)
    by_price = centres([0.001, 0.01, 0.1])
    mixed = centres([0.001, 0.01, 0.1], ["frontier", None, None])
    np.testing.assert_allclose(mixed[1:], by_price[1:])
    assert mixed[0] == pytest.approx(CENTRE + 1.5 * TIER_STEP)
    assert 1.5 * TIER_STEP <= PRICE_REACH


def test_a_tier_is_worth_some_rewards_and_no_more(schema, draw_context) -> None:
    arms = [ArmPrior("a", quality_tier="economy"), ArmPrior("b", quality_tier="frontier")]
    context = draw_context(np.random.default_rng(5))
    mean, _ = predict(state_of(schema, arms=arms), context)
    assert mean[1] - mean[0] == pytest.approx(3 * TIER_STEP)
    mean, _ = predict(state_of(schema, rows_of(draw_context, 20), arms=arms), context)
    assert mean[0] > mean[1]


def test_a_quality_prior_beats_a_tier_and_an_unknown_tier_is_refused(schema, draw_context) -> None:
    arms = [ArmPrior("a", quality_prior=0.9, quality_tier="economy"), ArmPrior("b", quality_prior=0.9)]
    mean, _ = predict(state_of(schema, arms=arms), draw_context(np.random.default_rng(5)))
    assert mean[0] == pytest.approx(mean[1])
    with pytest.raises(ConfigurationError, match="standard"):
        ArmPrior("a", quality_tier="splendid")
