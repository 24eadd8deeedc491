"""Whatever the data: sums add and subtract, bytes come back, probabilities are probabilities."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from banditd.bandit.policies.base import ArmPrior, PolicySettings
from banditd.bandit.policies.exploration import apply_floors, dollar_floors, draw
from banditd.bandit.policies.quadrature import win_probabilities
from banditd.bandit.posterior.statistics import ArmSums
from banditd.bandit.state import PolicyState
from banditd.core.types import FeatureGroup, FeatureSchema

SCHEMA = FeatureSchema(
    version=1,
    hash="h",
    groups=(FeatureGroup("bias", 0, 1), FeatureGroup("lexical", 1, 3), FeatureGroup("cluster", 3, 5)),
    names=tuple("abcde"),
    encoder_id="e",
    embedding_dimension=2,
    n_clusters=2,
)
unit = st.floats(0, 1, allow_nan=False)
coordinate = st.floats(-3, 3, allow_nan=False, width=32)


@st.composite
def rows(draw_from, max_rows=30):  # type: ignore[no-untyped-def]
    n = draw_from(st.integers(1, max_rows))
    made = []
    for _ in range(n):
        x = np.array([1.0, *(draw_from(coordinate) for _ in range(4))])
        made.append(
            (
                draw_from(st.sampled_from("ab")),
                draw_from(st.integers(0, 5)),
                x,
                draw_from(st.floats(1e-3, 10)),
                draw_from(unit),
            )
        )
    return made


def state_of(data, *, forgetting=None) -> PolicyState:  # type: ignore[no-untyped-def]
    state = PolicyState(
        schema=SCHEMA,
        settings=PolicySettings(forgetting=forgetting, epoch_decisions=1000, live_epochs=2),
        arms=[ArmPrior("a"), ArmPrior("b"), ArmPrior("c", quality_prior=0.7)],
    )
    for arm, epoch, x, weight, reward in data:
        state.fold(arm=arm, epoch=epoch, x=x, weight=weight, reward=reward)
    return state


@settings(max_examples=40)
@given(rows(), st.randoms(use_true_random=False), st.sampled_from([None, 1500.0]))
def test_any_order_gives_the_same_sums_and_a_true_inverse(data, shuffler, forgetting) -> None:
    mixed = list(data)
    shuffler.shuffle(mixed)
    one, two = state_of(data, forgetting=forgetting), state_of(mixed, forgetting=forgetting)
    one.advance_to(7)
    two.advance_to(7)
    for arm in "ab":
        np.testing.assert_allclose(one.sums(arm).gram, two.sums(arm).gram, atol=1e-9, rtol=1e-9)
        np.testing.assert_allclose(one.sums(arm).xr, two.sums(arm).xr, atol=1e-9, rtol=1e-9)
    assert one.inverse_error() < 1e-8


@settings(max_examples=40)
@given(rows(), st.data())
def test_taking_rewards_out_is_as_if_they_had_never_come(data, chooser) -> None:
    removed = chooser.draw(st.lists(st.integers(0, len(data) - 1), unique=True))
    state = state_of(data)
    state.snapshot()
    for i in removed:
        arm, epoch, x, weight, reward = data[i]
        state.fold(arm=arm, epoch=epoch, x=x, weight=-weight, reward=reward)
    never = state_of([row for i, row in enumerate(data) if i not in removed])
    for arm in "ab":
        np.testing.assert_allclose(state.sums(arm).gram, never.sums(arm).gram, atol=1e-9)
        np.testing.assert_allclose(state.sums(arm).xr, never.sums(arm).xr, atol=1e-9)
    assert state.folded == never.folded


@settings(max_examples=40)
@given(rows())
def test_packed_sums_come_back_exactly(data) -> None:
    for _, _, packed in state_of(data).segments():
        assert ArmSums.unpack(packed).pack() == packed


@settings(max_examples=200)
@given(
    st.lists(st.tuples(st.floats(-2, 2), st.floats(0, 2), st.booleans()), min_size=1, max_size=16),
    st.floats(0, 0.9),
    st.floats(0, 1, exclude_max=True),
)
def test_probabilities_floors_and_draws_hold_for_any_scores(scores, total, uniform) -> None:
    mean, deviation, allowed = (np.array(column)[None, :] for column in zip(*scores, strict=True))
    allowed[0, 0] = True
    probability = win_probabilities(mean, deviation, allowed)
    assert probability.min() >= 0
    assert abs(probability.sum() - 1) < 1e-9
    floors = dollar_floors(np.abs(mean), allowed, total)
    assert floors.sum() <= total + 1e-12
    mixed = apply_floors(probability, floors)
    assert (mixed >= floors - 1e-12).all()
    assert abs(mixed.sum() - 1) < 1e-9
    assert not mixed[~allowed].any()
    index = draw(mixed, np.array([uniform]))[0]
    assert mixed[0, index] > 0


@settings(max_examples=60)
@given(rows(), st.lists(coordinate, min_size=4, max_size=4))
def test_more_rewards_never_make_the_posterior_wider(data, features) -> None:
    x = np.array([1.0, *features])
    state = state_of([])
    before = state.snapshot().predict(x[None, :])[1]
    for arm, _, row, weight, reward in data:
        state.fold(arm=arm, epoch=0, x=row, weight=weight, reward=reward)
        after = state.snapshot().predict(x[None, :])[1]
        assert (after <= before + 1e-10).all()
        before = after
