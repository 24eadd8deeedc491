"""Falls of a mean that are found over days: what is bet, what is tolerated, what is kept."""

from __future__ import annotations

import itertools
import json
import math
from typing import Final

import numpy as np
import pytest

from banditd.ope.betting import BETS
from banditd.ope.drops import BASELINE_DAYS, FORGOTTEN_DAYS, AnchorTest, DropDetector, GoldenTest
from banditd.ope.level import BASELINE_DAYS as LEVEL_DAYS
from banditd.ope.level import LIMIT, level_of

TOLERATED: Final = 0.02


def taken(days: list[list[float]], worse_by: float = TOLERATED) -> DropDetector:
    found = DropDetector()
    for day, values in enumerate(days):
        found.take(day, np.array(values), worse_by)
    return found


def test_every_day_begins_one_more_bet() -> None:
    """Against the sum over the days on which a bet may have begun."""
    days = [[0.1, -0.3], [], [-0.5], [0.0, -0.2, -1.0]]
    held = [[math.prod((1 - bet * (d + TOLERATED) / (1 + TOLERATED)) for d in day) for day in days] for bet in BETS]
    begun = [start for start, day in enumerate(days) if day]
    by_bet = [sum(math.prod(one[start:]) for start in begun) for one in held]
    assert taken(days).log_evidence == pytest.approx(math.log(sum(by_bet) / len(BETS)))
    assert taken(days).days == 3


def test_evidence_less_the_days_does_not_grow_in_the_mean_at_the_edge_of_what_is_tolerated() -> None:
    """Every course of six days with scores of 0 and 1 and a mean difference of -delta: E[R] is the days at most."""
    worse_by, mean = 0.2, 0.0
    for course in itertools.product((-1.0, 0.0), repeat=6):  # -1 with probability delta: its mean is -delta
        chance = math.prod(worse_by if one else 1.0 - worse_by for one in course)
        mean += chance * math.exp(taken([[one] for one in course], worse_by).log_evidence)
    assert mean == pytest.approx(6.0)


def test_a_day_without_a_comparison_is_no_day() -> None:
    assert taken([[-0.1], [], [], [-0.2]]).as_json()["stakes"] == taken([[-0.1], [-0.2]]).as_json()["stakes"]


def test_a_clock_that_goes_back_begins_no_bet() -> None:
    found = taken([[], [], [-0.1]])
    found.take(0, np.array([-0.1]), TOLERATED)
    assert (found.day, found.days) == (2, 1)


def test_since_when_is_where_the_best_run_began() -> None:
    found = taken([[0.3]] * 20 + [[-0.4]] * 10)
    assert found.since_day == 20
    assert taken([[0.3]] * 20).since_day is None


def test_what_is_kept_goes_on_as_it_was() -> None:
    rng = np.random.default_rng(0)
    days = [rng.uniform(-1, 0.8, 5).tolist() for _ in range(30)]
    found = taken(days[:17])
    found = DropDetector.of_json(json.loads(json.dumps(found.as_json())))
    for day, values in enumerate(days[17:], 17):
        found.take(day, np.array(values), TOLERATED)
    assert found == taken(days)
    for damaged in ({}, found.as_json() | {"stakes": [0.0]}, found.as_json() | {"since": None}):
        with pytest.raises((KeyError, TypeError, ValueError)):
            DropDetector.of_json(damaged)


def anchored(drop: float, units: int = 4000, *, differ: bool = True, seed: int = 0) -> AnchorTest:
    rng, found = np.random.default_rng(seed), AnchorTest()
    for unit in range(units):
        live = bool(rng.random() >= 0.05)
        value = float(rng.random() < 0.9 - live * drop)
        found.count(value, live=live, differ=differ, share=0.05, day=unit // 100, worse_by=0.01)
    return found


def test_the_anchor_finds_what_became_worse_and_nothing_where_both_fell() -> None:
    assert anchored(0.25).detector.log_evidence > math.log(1000.0)
    assert anchored(0.0).detector.log_evidence < math.log(1000.0)
    low, high = anchored(0.25).interval() or (0.0, 0.0)
    assert low < -0.25 < high < 0.0


def test_units_on_which_both_would_have_drawn_alike_are_not_compared() -> None:
    found = anchored(0.25, differ=False)
    assert (found.comparisons, found.detector.days, found.differs) == (0, 0, 0.0)


def test_where_the_two_differ_on_a_part_of_the_traffic_more_is_tolerated_there() -> None:
    """A loss of what is tolerated over all traffic is ten times as much on the tenth where they differ."""
    whole, part = AnchorTest(), AnchorTest(differs=0.1)
    for found in (whole, part):
        for unit in range(15):
            found.count(float(unit == 0), live=unit > 0, differ=True, share=0.05, day=0, worse_by=0.01)
    assert whole.comparisons == part.comparisons == 1
    assert whole.detector.log_evidence > part.detector.log_evidence


def test_an_anchor_test_that_is_kept_goes_on_as_it_was() -> None:
    found = anchored(0.1, 500)
    again = AnchorTest.of_json(json.loads(json.dumps(found.as_json())))
    for one in (found, again):
        one.count(1.0, live=False, differ=True, share=0.05, day=9, worse_by=0.01)
    assert again.as_json() == found.as_json()


def golden(days: list[dict[str, float]], worse_by: float = 0.01) -> GoldenTest:
    found = GoldenTest()
    for day, scores in enumerate(days):
        found.add_day(day, scores, worse_by)
    return found


EVEN: Final = {f"p{i}": 1.0 for i in range(20)}
WORSE: Final = EVEN | {"p0": 0.0, "p1": 0.0}


def test_the_first_scores_of_a_prompt_are_its_baseline_and_stay_it() -> None:
    found = golden([EVEN] * BASELINE_DAYS + [WORSE] * 40)
    assert found.baseline["p0"][:2] == (BASELINE_DAYS, float(BASELINE_DAYS))
    assert found.detector.days == 40
    assert found.detector.log_evidence > math.log(1000.0)
    assert found.detector.since_day == BASELINE_DAYS
    last = found.recent[-1]
    assert (last.prompts, last.baseline, last.mean, last.flips) == (20, 1.0, 0.9, 0.1)


def test_an_arm_that_is_what_it_was_raises_no_alarm() -> None:
    found = golden([EVEN] * 100).detector
    assert found.since_day is None
    # Each bet of a day that nothing speaks for or against is still there: a day's worth each.
    assert found.log_evidence < math.log(found.days)
    assert golden([EVEN] * BASELINE_DAYS).waits == 0
    assert golden([]).waits == BASELINE_DAYS


def test_a_prompt_that_came_later_has_a_baseline_of_its_own() -> None:
    later = EVEN | {"new": 0.0}
    found = golden([EVEN] * BASELINE_DAYS + [later] * 5)
    assert found.baseline["new"][0] == 5
    assert found.recent[-1].prompts == len(EVEN)


def test_a_prompt_that_is_asked_no_more_is_forgotten() -> None:
    without = {name: score for name, score in EVEN.items() if name != "p0"}
    found = golden([EVEN] * BASELINE_DAYS + [without] * (FORGOTTEN_DAYS + 1))
    assert set(found.baseline) == set(without)


def test_a_noisy_baseline_is_believed_less() -> None:
    """Two baselines of the same mean; what the noisy one may be wrong by is tolerated as well."""
    noisy = [{name: float((day + i) % 2) for i, name in enumerate(EVEN)} for day in range(BASELINE_DAYS)]
    calm = [dict.fromkeys(EVEN, 0.5)] * BASELINE_DAYS
    lower = [dict.fromkeys(EVEN, 0.45)] * 10
    assert golden(noisy + lower).detector.log_evidence < golden(calm + lower).detector.log_evidence


def test_a_golden_test_that_is_kept_goes_on_as_it_was() -> None:
    days = [EVEN] * BASELINE_DAYS + [WORSE] * 9
    found = GoldenTest.of_json(json.loads(json.dumps(golden(days[:-3]).as_json())))
    for day, scores in enumerate(days[-3:], len(days) - 3):
        found.add_day(day, scores, 0.01)
    assert found == golden(days)


def test_the_level_is_measured_in_deviations_of_days() -> None:
    restless = [0.8 + 0.05 * (-1) ** day for day in range(LEVEL_DAYS)]
    even = [0.8 + 0.005 * (-1) ** day for day in range(LEVEL_DAYS)]
    assert level_of(restless) is None
    lower = [0.78] * 10
    calm, alarm = level_of(restless + lower), level_of(even + lower)
    assert calm is not None and alarm is not None
    assert calm.alarm is None and calm.sum < LIMIT <= alarm.sum
    assert alarm.since == LEVEL_DAYS


def test_a_level_that_is_back_is_lower_since_no_day() -> None:
    found = level_of([0.8 + 0.01 * (-1) ** day for day in range(LEVEL_DAYS)] + [0.7] * 5 + [0.9] * 20)
    assert found is not None
    assert (found.sum, found.since) == (0.0, None)
    assert found.alarm is not None
