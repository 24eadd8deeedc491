"""What the baseline would have earned: honest intervals, no verdict without data, a test that may be watched."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from banditd.ope.reference import (
    ALARM,
    ENOUGH_WORTH,
    MARGIN,
    TOLERANCE,
    BaselineEvidence,
    RatedDecision,
)

ONE = RatedDecision(reward=1.0, predicted=0.5, baseline_predicted=0.5, baseline_probability=0.5, is_baseline=True)


def play(
    generator: np.random.Generator, n: int, *, keep: float, p: float, baseline: float, others: float, predicted: float
) -> BaselineEvidence:
    """``n`` pass/fail decisions: the baseline answers with probability ``p``, its prediction is ``predicted``."""
    evidence = BaselineEvidence(keep)
    for _ in range(n):
        drawn = bool(generator.random() < p)
        reward = float(generator.random() < (baseline if drawn else others))
        evidence.add(RatedDecision(reward, predicted if drawn else others, predicted, p, drawn))
    return evidence


def test_without_data_there_is_no_interval_and_no_verdict() -> None:
    empty = BaselineEvidence(0.95).verdict()
    assert (empty.ratio, empty.low, empty.high, empty.rated) == (None, None, None, 0)
    assert empty.held(0.95) == "unknown"
    evidence = BaselineEvidence(0.95)
    evidence.add(ONE)
    once = evidence.verdict()
    assert once.ratio is None
    assert once.held(0.5) == "unknown"


def test_decisions_that_could_not_draw_the_baseline_are_counted_and_left_out() -> None:
    evidence = play(np.random.default_rng(1), 400, keep=0.9, p=0.3, baseline=0.8, others=0.6, predicted=0.7)
    before = evidence.verdict()
    for _ in range(50):
        evidence.add(RatedDecision(0.0, 0.5, 0.9, 0.0, is_baseline=False))
    after = evidence.verdict()
    assert after.unsupported == 50
    assert (after.ratio, after.low, after.high, after.rated) == (before.ratio, before.low, before.high, before.rated)


@pytest.mark.parametrize("p", [0.01, 0.05, 0.3, 0.9])
def test_the_interval_covers_the_truth_whatever_the_overlap(p: float) -> None:
    covered = told = 0
    for seed in range(200):
        generator, evidence = np.random.default_rng(seed), BaselineEvidence(0.9)
        potential = (generator.random(500) < 0.8).astype(float)  # what the baseline would have earned
        for earned in potential.tolist():
            drawn = bool(generator.random() < p)
            reward = earned if drawn else float(generator.random() < 0.6)
            evidence.add(RatedDecision(reward, 0.55, 0.55, p, drawn))
        verdict = evidence.verdict()
        if verdict.low is None or verdict.high is None or verdict.reward is None:
            continue
        told += 1
        covered += verdict.low <= verdict.reward / potential.mean() <= verdict.high  # on these very decisions
    assert told >= 150 or p < 0.05
    assert covered >= 0.93 * told


@given(st.floats(0.6, 0.99), st.floats(0.02, 0.98), st.integers(0, 10_000))
def test_a_ratio_lies_in_its_interval_and_yes_and_no_exclude_each_other(keep: float, p: float, seed: int) -> None:
    verdict = play(np.random.default_rng(seed), 60, keep=keep, p=p, baseline=0.7, others=0.5, predicted=0.6).verdict()
    if verdict.ratio is None:
        assert verdict.held(keep) == "unknown"
        return
    assert verdict.low is not None
    assert verdict.high is not None
    assert verdict.low <= verdict.ratio <= verdict.high
    if verdict.held(keep) == "yes":
        assert verdict.worth >= ENOUGH_WORTH
        assert verdict.low >= keep - TOLERANCE
    if verdict.held(keep) == "no":
        assert verdict.high < keep - TOLERANCE


def test_held_is_said_where_it_is_known() -> None:
    good = play(np.random.default_rng(2), 4000, keep=0.9, p=0.3, baseline=0.8, others=0.85, predicted=0.75)
    assert good.verdict().held(0.9) == "yes"
    bad = play(np.random.default_rng(3), 4000, keep=0.9, p=0.3, baseline=0.8, others=0.4, predicted=0.75)
    assert bad.verdict().held(0.9) == "no"


def test_the_shortfall_test_alarms_soon_on_a_shortfall() -> None:
    """Others fall from .8 to .5 where they answer 60 %: found within 300 rated decisions, nearly always."""
    found = []
    for seed in range(40):
        generator = np.random.default_rng(seed)
        evidence = play(generator, 300, keep=0.95, p=0.4, baseline=0.8, others=0.8, predicted=0.8)
        alarms_before = evidence.since_alarm is not None
        late = evidence
        for number in range(300):
            drawn = bool(generator.random() < 0.4)
            reward = float(generator.random() < (0.8 if drawn else 0.5))
            late.add(RatedDecision(reward, 0.8, 0.8, 0.4, drawn))
            if late.since_alarm == 0:
                found.append(number)
                break
        assert not alarms_before
    assert len(found) >= 36
    assert np.median(found) <= 200


def test_the_shortfall_test_seldom_alarms_at_its_edge_and_never_by_a_common_shock() -> None:
    alarms = 0
    edge = 0.95 - MARGIN
    for seed in range(20):
        generator = np.random.default_rng(seed)
        evidence = BaselineEvidence(0.95)
        for _ in range(int(ALARM) // 10):
            drawn = bool(generator.random() < 0.3)
            reward = float(generator.random() < 0.8 * (1.0 if drawn else edge))
            evidence.add(RatedDecision(reward, 0.8, 0.8, 0.3, drawn))
            alarms += evidence.since_alarm == 0
    assert alarms <= 2 * 20 * 0.1 + 3  # one in ALARM decisions at most; 20 streams of a tenth of that
    shocked = BaselineEvidence(0.95)
    generator = np.random.default_rng(9)
    for _ in range(3000):  # baseline and others fall alike by .1, while the baseline answers a third
        drawn = bool(generator.random() < 0.33)
        shocked.add(RatedDecision(float(generator.random() < 0.7), 0.8, 0.8, 0.33, drawn))
    assert shocked.since_alarm is None


def test_a_fresh_start_of_the_sums_gives_the_same_verdict() -> None:
    generator = np.random.default_rng(4)
    stream = [
        RatedDecision(float(generator.random() < 0.7), 0.6, 0.65, 0.2, bool(generator.random() < 0.2))
        for _ in range(300)
    ]
    first, second = BaselineEvidence(0.9), BaselineEvidence(0.9)
    for one in stream:
        first.add(one)
    for one in stream:
        second.add(one)
    assert first.verdict() == second.verdict()
    assert first.since_alarm == second.since_alarm
