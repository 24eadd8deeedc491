"""A promise inside one decision: dearer arms are out, the baseline has its share, money and floors come first."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from banditd.deciding.keeper import Keeper, PromiseRule, baseline_index
from banditd.deciding.pledge import Pledge, Pledges, blended, shares, without_dearer
from banditd.ope.reference import RatedDecision

COST = np.array([[0.001, 0.01, 0.02], [0.001, 0.03, 0.02]])
ALL = np.ones((2, 3), dtype=bool)


def test_arms_dearer_than_the_baseline_are_out_where_the_baseline_may_answer() -> None:
    pledge = Pledge(baseline=2, price_per_usd=0.0, share=0.5)
    assert without_dearer(Pledges.of([pledge, pledge]), ALL, COST).tolist() == [
        [True, True, True],
        [True, False, True],
    ]
    away = ALL & np.array([True, True, False])
    assert without_dearer(Pledges.of([pledge, pledge]), away, COST) is away
    assert without_dearer(Pledges.of([None, None]), ALL, COST) is ALL
    cheapest_is_away = ALL & np.array([True, False, True])
    assert (
        without_dearer(Pledges.of([pledge, pledge]), cheapest_is_away, COST) is cheapest_is_away
    )  # the dearer one is out


def test_one_query_has_a_promise_and_its_neighbour_has_none() -> None:
    pledge = Pledge(baseline=0, price_per_usd=0.0, share=0.25)
    own = np.array([[0.0, 1.0, 0.0], [0.0, 1.0, 0.0]])
    none = np.zeros((2, 3))
    pledges = Pledges.of([pledge, None])
    assert pledges is not None
    share = shares(pledges, ALL, np.zeros(2))
    assert blended(own, pledges, share, none).tolist() == [[0.75, 0.25, 0.0], [0.0, 1.0, 0.0]]


def test_a_budget_that_asks_for_more_rules() -> None:
    pledge = Pledge(baseline=2, price_per_usd=10.0, share=0.1)
    assert shares(Pledges.of([pledge, pledge]), ALL, np.array([10.0, 11.0])).tolist() == [0.1, 1.0]
    unaffordable = np.array([[True, True, False], [True, True, True]])
    assert shares(Pledges.of([pledge, pledge]), unaffordable, np.zeros(2)).tolist() == [1.0, 0.1]


@given(
    arrays(np.float64, 4, elements=st.floats(0.0, 1.0)).filter(lambda one: one.sum() > 0.01),
    st.integers(0, 3),
    st.floats(0.0, 1.0),
    arrays(np.float64, 4, elements=st.floats(0.0, 0.24)),
)
def test_a_blended_vector_sums_to_one_and_keeps_every_guarantee(
    raw: np.ndarray, baseline: int, share: float, least: np.ndarray
) -> None:
    own = (raw / raw.sum())[None, :]
    played = blended(own, Pledges(slice(None), baseline, 0.0, share), np.array([share]), least[None, :])
    assert played.sum() == pytest.approx(1.0)
    assert np.all(played >= least - 1e-12)
    assert played[0, baseline] >= (1.0 - share) * (1.0 - least.sum()) - 1e-12
    assert own.sum() == pytest.approx(1.0)  # the argument is left as it was


def test_dearest_is_the_dearest_that_is_enabled() -> None:
    rule, cost = PromiseRule(), np.array([1.0, 3.0, 2.0])
    assert baseline_index(rule, ("a", "b", "c"), cost, np.ones(3, dtype=bool)) == 1
    assert baseline_index(rule, ("a", "b", "c"), cost, np.array([True, False, True])) == 2
    assert baseline_index(rule, ("a", "b", "c"), cost, np.zeros(3, dtype=bool)) is None
    assert baseline_index(PromiseRule(baseline="c"), ("a", "b", "c"), cost, np.zeros(3, dtype=bool)) == 2
    assert baseline_index(PromiseRule(baseline="x"), ("a", "b", "c"), cost, np.ones(3, dtype=bool)) is None


def keeper(**rule: float) -> Keeper:
    return Keeper(PromiseRule(**rule), n_arms=3, n_features=2, baseline=2)  # type: ignore[arg-type]


def test_the_reference_share_tapers_when_the_difference_is_known_and_returns_after_an_alarm() -> None:
    kept = keeper(keep=0.9, reference_share=0.1, precision=0.05)
    assert kept.reference_share == 0.1
    generator = np.random.default_rng(0)
    for _ in range(2000):
        drawn = bool(generator.random() < 0.3)
        kept.learn(RatedDecision(float(generator.random() < 0.8), 0.8, 0.8, 0.3, drawn))
    assert kept.reference_share == pytest.approx(0.01)
    for _ in range(400):
        kept.learn(RatedDecision(0.0, 0.8, 0.8, 0.3, is_baseline=False))
        if kept.reference_share == 0.1:
            break
    assert kept.evidence.since_alarm is not None
    assert kept.reference_share == 0.1


def test_learning_again_from_the_log_is_what_was_learned() -> None:
    generator = np.random.default_rng(5)
    stream = [
        RatedDecision(float(generator.random() < 0.6), 0.6, 0.7, 0.4, bool(generator.random() < 0.4))
        for _ in range(500)
    ]
    live, restarted = keeper(keep=0.9), keeper(keep=0.9)
    for one in stream:
        live.learn(one)
    restarted.adopt(restarted.judged(stream), news=True)
    assert restarted.verdict() == live.verdict()
    assert restarted.misses.bias == live.misses.bias
    assert restarted.misses.baseline_bias == live.misses.baseline_bias
    assert restarted.reserve.owed == live.reserve.owed
    assert restarted.reference_share == live.reference_share


def test_promises_beside_each_other_ask_what_they_ask_alone() -> None:
    """Queries of one promise are one number, of several an array: the vectors are the same bits."""
    generator = np.random.default_rng(0)
    given = [Pledge(2, 10.0, 0.3), None, Pledge(1, 3.0, 0.7), Pledge(2, 10.0, 0.3)]
    eligible, cost = generator.random((4, 3)) < 0.8, generator.random((4, 3))
    own, price = generator.dirichlet(np.ones(3), 4), np.array([0.0, 5.0, 4.0, 10.0])
    together = Pledges.of(given)
    assert together is not None
    wanted, share = without_dearer(together, eligible, cost), shares(together, eligible, price)
    played = blended(own, together, share, None)
    for row, pledge in enumerate(given):
        alone, mine = Pledges.of([pledge]), slice(row, row + 1)
        assert np.array_equal(wanted[mine], without_dearer(alone, eligible[mine], cost[mine]))
        assert np.array_equal(share[mine], shares(alone, eligible[mine], price[mine]))
        if alone is not None:
            assert np.array_equal(played[mine], blended(own[mine], alone, share[mine], None))


def test_what_is_pledged_follows_the_terms_and_the_rule() -> None:
    keeper = Keeper(PromiseRule(keep=0.9, reference_share=0.1), n_arms=3, n_features=2, baseline=2)
    first = keeper.pledge()
    assert keeper.pledge() is first
    keeper.promise.terms = dataclasses.replace(keeper.terms, price_per_usd=4.0, share=0.3, state="keeping")
    assert keeper.pledge() == Pledge(2, 4.0, 0.3, 0.9, "keeping")
    keeper.rule = PromiseRule(keep=0.8, reference_share=0.9)
    assert keeper.pledge() == Pledge(2, 4.0, pytest.approx(0.1), 0.8, "keeping")
    keeper.realign(np.array([2, 1, 0]), baseline=0)
    assert keeper.pledge().baseline == 0
