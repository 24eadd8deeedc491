"""Doubly robust terms of fixed arms, and the interval of the design."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from banditd.ope.fixed import FixedArmSums, MeanEstimate, fixed_arm_terms
from banditd.ope.reference import BaselineEvidence, RatedDecision, verdict_of


def add_up(terms) -> FixedArmSums:
    rated, unsupported, drawn, *floats = np.sum(list(terms), axis=0)
    return FixedArmSums(int(rated), int(unsupported), int(drawn), *map(float, floats))


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0.01, 1)), min_size=2, max_size=6))
def test_the_estimate_of_every_arm_is_unbiased_whatever_was_predicted(arms):
    """Over the draw, the expectation of phi is the arm's true reward."""
    truth, predicted, weight = map(np.array, zip(*arms, strict=True))
    probability = weight / weight.sum()
    for arm, p in enumerate(probability):
        terms = [
            chance * np.array(fixed_arm_terms(predicted[arm], p, truth[drawn], drawn=drawn == arm))
            for drawn, chance in enumerate(probability)
        ]
        assert np.sum(terms, axis=0)[3] == pytest.approx(truth[arm], abs=1e-9)


def logged(n: int, seed: int, *, rare: float = 0.2, often: float = 0.2) -> tuple[FixedArmSums, float, float]:
    """(sums of arm 1, its mean reward on these decisions, what was earned); predictions are poor.

    Arm 0 earns .5, arm 1 earns .7; arm 1 is drawn with probability ``rare`` on every second decision, ``often`` on
    the others, where it earns .9 and .5.
    """
    rng = np.random.default_rng(seed)
    p = np.where(np.arange(n) % 2 == 0, rare, often)
    other, mine = (rng.random(n) < 0.5), (rng.random(n) < np.where(np.arange(n) % 2 == 0, 0.9, 0.5))
    drawn = rng.random(n) < p
    reward = np.where(drawn, mine, other).astype(float)
    rows = zip(p.tolist(), reward.tolist(), drawn.tolist(), strict=True)
    sums = add_up(fixed_arm_terms(0.3, one, r, drawn=d) for one, r, d in rows)
    return sums, float(mine.mean()), float(reward.mean())


@pytest.mark.parametrize(("n", "rare", "often"), [(1500, 0.2, 0.2), (400, 0.05, 0.05), (2000, 0.002, 0.5)])
def test_intervals_hold_the_truth_about_as_often_as_they_say(n, rare, often):
    """The last case: hundreds of easy draws, and hardly one of those that matter."""
    held = gained = known = 0
    for seed in range(200):
        sums, truth, earned = logged(n, seed, rare=rare, often=often)
        reward, gain = sums.mean_reward().interval, sums.mean_gain().interval
        if reward is None:
            continue
        known += 1
        held += reward[0] <= truth <= reward[1]
        gained += gain[0] - 1e-12 <= truth - earned <= gain[1] + 1e-12
    assert known >= 150
    assert held >= 0.93 * known
    assert gained == held


def test_a_decision_on_which_it_could_not_be_drawn_is_left_out_and_counted():
    one = add_up([fixed_arm_terms(0.5, 0.25, 1.0, drawn=True), fixed_arm_terms(0.5, 0.25, 0.0, drawn=False)])
    both = add_up(
        [
            fixed_arm_terms(0.5, 0.25, 1.0, drawn=True), fixed_arm_terms(0.5, 0.25, 0.0, drawn=False),
            *[fixed_arm_terms(0.9, 0.0, 1.0, drawn=False)] * 1000,
        ]
    )  # fmt: skip
    assert (both.rated, both.unsupported) == (2, 1000)
    assert (both.mean_reward(), both.half_width) == (one.mean_reward(), one.half_width)


def test_no_interval_without_data_behind_it():
    assert FixedArmSums().mean_reward() is None
    assert FixedArmSums().mean_gain() is None
    never = add_up([fixed_arm_terms(0.5, 0.01, 1.0, drawn=False)] * 5000)
    assert never.mean_reward().interval is None
    once = add_up([fixed_arm_terms(0.5, 0.9, 1.0, drawn=True)])
    assert once.mean_reward().interval is None
    assert math.isinf(once.half_width)
    # Two draws that one decision in a thousand would have given: worth less than two answers.
    lucky = add_up([fixed_arm_terms(0.5, 0.0001, 1.0, drawn=True)] * 2)
    assert lucky.mean_reward().interval is None


def test_the_improbable_decisions_widen_the_interval_although_none_of_them_drew_the_arm():
    easy = [fixed_arm_terms(0.5, 0.5, 1.0, drawn=True), fixed_arm_terms(0.5, 0.5, 0.0, drawn=False)] * 200
    known = add_up(easy)
    hidden = add_up([*easy, *[fixed_arm_terms(0.5, 0.002, 0.0, drawn=False)] * 400])
    assert known.drawn == hidden.drawn == 200
    assert hidden.half_width > 3 * known.half_width
    assert hidden.worth < 10 < known.worth


def test_of_an_arm_that_answers_nearly_everything_the_few_it_did_not_may_be_others():
    """Early decisions, which are predicted badly and drawn evenly, and then very many that are neither."""
    held = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        p = np.where(np.arange(1000) < 20, 0.5, 0.999)
        predicted = np.where(np.arange(1000) < 20, 0.75, 0.95)
        truth = np.clip(0.95 + 0.05 * rng.standard_normal(1000), 0.0, 1.0)
        drawn = rng.random(1000) < p
        reward = np.where(drawn, truth, 0.4)
        rows = zip(predicted.tolist(), p.tolist(), reward.tolist(), drawn.tolist(), strict=True)
        low, high = add_up(fixed_arm_terms(m, q, r, drawn=d) for m, q, r, d in rows).mean_reward().interval
        held += low <= truth.mean() <= high
    assert held >= 0.93 * 200


def test_what_is_shown_is_possible():
    flat = MeanEstimate.within(1.2, 0.4, 0.0, 1.0)
    assert (flat.mean, flat.interval) == (1.0, (pytest.approx(0.8), 1.0))
    gain = add_up([fixed_arm_terms(0.9, 0.1, 1.0, drawn=True)] * 20).mean_gain()
    assert gain.mean <= 0.0 + 1e-12  # what was earned is 1 already
    assert gain.interval[1] < 0.2  # of these twenty: of all traffic it may be a little less


@pytest.mark.parametrize("n", [5, 15])
def test_a_few_good_answers_do_not_say_that_nothing_is_lost(n):
    """Few decisions of the traffic are rated: the interval is about all of it."""
    held = known = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        drawn = rng.random(n) < 0.85
        reward = (rng.random(n) < np.where(drawn, 0.86, 0.71)).astype(float)
        rows = zip(reward.tolist(), drawn.tolist(), strict=True)
        interval = add_up(fixed_arm_terms(0.86, 0.85, r, drawn=d) for r, d in rows).mean_gain().interval
        if interval is not None:
            known += 1
            held += interval[0] <= 0.15 * 0.15 <= interval[1]
    assert known > 280
    assert held >= 0.93 * known


def test_three_thumbs_up_keep_nothing_for_sure():
    good = [fixed_arm_terms(0.8, 0.8, 1.0, drawn=True)] * 3
    verdict = verdict_of(add_up(good))
    assert verdict.ratio == 1.0
    assert verdict.low < 0.7
    assert verdict.gain == add_up(good).mean_gain().interval


def test_a_promise_judges_its_baseline_by_the_very_same_sums():
    rng = np.random.default_rng(4)
    evidence, terms = BaselineEvidence(0.95), []
    for _ in range(300):
        p = float(rng.choice([0.0, 0.05, 0.6]))
        drawn, reward = bool(rng.random() < p), float(rng.random() < 0.7)
        evidence.add(RatedDecision(reward, 0.6, 0.65, p, drawn))
        terms.append(fixed_arm_terms(0.65, p, reward, drawn=drawn))
    sums, verdict = add_up(terms), evidence.verdict()
    assert evidence.sums.half_width == pytest.approx(sums.half_width)
    assert (verdict.rated, verdict.unsupported) == (sums.rated, sums.unsupported)
    assert verdict.ratio == pytest.approx(sums.earned / sums.mean_reward().mean)
