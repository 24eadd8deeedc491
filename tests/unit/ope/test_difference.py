"""The difference of two rules on a log: unbiased for every draw, honest about what was never drawn."""

from __future__ import annotations

import math

import numpy as np
import pytest

from banditd.core.types import FloatArray
from banditd.ope.difference import Compared, DifferenceSums, answers_missing, difference_terms

LOGGED = np.array([0.7, 0.25, 0.05])
WANTED = np.array([0.1, 0.3, 0.6])
OTHER = np.array([0.8, 0.2, 0.0])
MEAN = np.array([0.3, 0.9, 0.5])
REWARD = np.array([0.6, 0.2, 1.0])


def sums_of(
    n: int, drawn: FloatArray, *, logged: FloatArray = LOGGED, wanted: FloatArray = WANTED, other: FloatArray = OTHER
) -> DifferenceSums:
    """Of n decisions that drew these arms, in turn."""
    index = np.resize(drawn, n).astype(np.intp)
    mean = np.where(logged > 0.0, MEAN, 0.0)
    rows = (np.tile(vector, (n, 1)) for vector in (logged, wanted, other, mean, np.ones(3)))
    logged, wanted, other, means, cost_usd = rows
    found = DifferenceSums()
    found.add(
        difference_terms(
            Compared(
                logged=logged, wanted=wanted, other=other, mean=means, drawn=index, reward=REWARD[index],
                predicted=MEAN[index], cost_usd=cost_usd,
            )
        )
    )  # fmt: skip
    return found


def test_over_the_draw_the_terms_are_right_whatever_was_predicted() -> None:
    each = [sums_of(1, np.array([arm])) for arm in range(3)]
    expected = {name: sum(p * one[name] for p, one in zip(LOGGED, each, strict=True)) for name in ("term", "value")}
    assert expected["term"] == pytest.approx((WANTED - OTHER) @ REWARD)
    assert expected["value"] == pytest.approx(WANTED @ REWARD)
    second = sum(p * one["empirical"] for p, one in zip(LOGGED, each, strict=True))
    assert second == pytest.approx(((WANTED - OTHER) ** 2 / LOGGED) @ (REWARD - MEAN) ** 2)
    assert each[0]["design"] == pytest.approx((WANTED - OTHER) ** 2 @ (1.0 / LOGGED))


def test_the_same_rule_differs_in_nothing() -> None:
    found = sums_of(50, np.array([0, 1, 2]), other=WANTED).interval("anytime")
    assert (found.estimate, found.low, found.high) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("kind", ["fixed", "anytime"])
def test_no_more_can_be_lost_than_is_answered_otherwise(kind: str) -> None:
    nearly = OTHER + np.array([-0.004, 0.0, 0.004])
    sums = sums_of(5, np.array([0]), wanted=nearly)
    found = sums.interval(kind)  # type: ignore[arg-type]
    assert sums.half_width(kind) > 0.004  # type: ignore[arg-type]
    assert (found.low, found.high) == (pytest.approx(-0.004), pytest.approx(0.004))


def test_what_was_improbable_and_never_drawn_is_not_known() -> None:
    never = sums_of(600, np.array([0, 1]))
    assert never["design"] > 10 * never["empirical"]
    assert never.half_width("anytime") > 2.0 * math.sqrt(never["empirical"]) / 600
    # Answers of arm 1 alone are behind it, and few of them say anything of arm 2.
    assert never.behind <= sums_of(600, np.array([0, 1, 2])).behind + 600


def test_of_an_arm_that_could_not_be_drawn_every_reward_is_possible() -> None:
    blind = np.array([0.7, 0.3, 0.0])
    sums = sums_of(
        600, np.array([0, 1]), logged=blind, wanted=np.array([0.5, 0.3, 0.2]), other=np.array([0.7, 0.3, 0.0])
    )
    assert sums.uncovered == pytest.approx(0.2)
    found, half = sums.interval("fixed"), sums.half_width("fixed")
    assert found.low == pytest.approx(max(found.estimate - half, -0.2))  # it may earn nothing
    assert found.high == pytest.approx(min(found.estimate + half + 0.2, 0.2))  # or all
    gone = sums_of(
        600, np.array([0, 1]), logged=blind, wanted=np.array([0.7, 0.3, 0.0]), other=np.array([0.5, 0.3, 0.2])
    )
    found = gone.interval("fixed")
    assert found.low <= found.estimate - 0.19 or found.low == pytest.approx(-0.2)


def test_watching_costs_width_and_begins_late() -> None:
    few, many = sums_of(499, np.array([0, 1, 2])), sums_of(3000, np.array([0, 1, 2]))
    assert few.half_width("anytime") == math.inf
    assert few.half_width("fixed") < 0.5
    assert 1.3 < many.half_width("anytime") / many.half_width("fixed") < 2.0


def test_an_arm_that_is_gone_is_no_arm_of_either_rule() -> None:
    sums = sums_of(10, np.array([-1]))
    assert sums["term"] == pytest.approx(10 * ((WANTED - OTHER) @ MEAN))
    assert sums.behind == 0.0
    found = sums.interval("fixed")
    assert found.high - found.low > 0.5


def test_sums_add_up_and_say_how_many_more_are_needed() -> None:
    one, two, both = sums_of(30, np.array([0, 1])), sums_of(30, np.array([0, 1])), sums_of(60, np.array([0, 1]))
    assert both["term"] == pytest.approx(one["term"] + two["term"])
    assert both.worth == pytest.approx(2 * one.worth)
    assert answers_missing(100.0, 0.04, 0.02) == 300
    assert answers_missing(100.0, 0.01, 0.02) == 0
    assert answers_missing(100.0, math.inf, 0.02) is None
    assert answers_missing(100.0, 0.1, 0.0) is None


def test_where_the_candidate_answers_nothing_all_may_be_lost() -> None:
    sums = sums_of(40, np.array([0, 1, 2]), wanted=np.zeros(3))
    assert sums.mean("differing") == pytest.approx(1.0)
    assert sums.interval("fixed").low < -0.3
