"""What routing saves, from sums, and the verdicts in words."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from banditd.ope.fixed import FIXED_ARM_SUMS, FixedArmSums, fixed_arm_terms
from banditd.services.reports.rows import arm_rows
from banditd.services.reports.savings import Reference, fixed_arm_sums, savings
from banditd.services.reports.verdicts import Pace, arm_in_words, settles, time_in_words

COST = {"cheap": 0.001, "dear": 0.01}
NOW_US = int(datetime(2026, 3, 5, 12, tzinfo=UTC).timestamp() * 1e6)  # a Thursday
PACE = Pace(NOW_US, rated_per_s=0.01)
DEAR = Reference("dear", share=0.05)


def rows(n: int, *, share_dear: float, truth: dict[str, float], seed: int = 0, eligible: int | None = None):
    """A policy that draws the dear arm at random with that share."""
    rng = np.random.default_rng(seed)
    sums = {arm: np.zeros(len(FIXED_ARM_SUMS)) for arm in COST}
    dear = 0
    for _ in range(n):
        drawn = "dear" if rng.random() < share_dear else "cheap"
        dear += drawn == "dear"
        reward = float(rng.random() < truth[drawn])
        for arm in COST:
            p = share_dear if arm == "dear" else 1 - share_dear
            sums[arm] += fixed_arm_terms(truth[arm], p, reward, drawn=arm == drawn)
    return [
        {
            "arm": arm, "decisions": dear if arm == "dear" else n - dear, "fixed_decisions": eligible or n,
            "fixed_cost_usd": COST[arm] * (eligible or n), **dict(zip(FIXED_ARM_SUMS, sums[arm], strict=True)),
        }
        for arm in COST
    ], {
        "decisions": n, "predicted_spend_usd": dear * COST["dear"] + (n - dear) * COST["cheap"], "drawn_rewards": n,
    }  # fmt: skip


def compared(made, pace: Pace = PACE, reference: Reference = DEAR):
    found, total = made
    return savings(found, list(COST), total, pace, reference)


def test_a_policy_that_plays_a_fixed_mix_is_the_mixture():
    found = compared(rows(4000, share_dear=0.3, truth={"cheap": 0.5, "dear": 0.8}))
    mixture = found["mixture"]
    shares = {part["arm"]: part["share"] for part in mixture["arms"]}
    assert shares == pytest.approx({"cheap": 0.7, "dear": 0.3}, abs=0.02)
    assert mixture["cost_usd_per_decision"] == pytest.approx(found["cost_usd_per_decision"])
    low, high = mixture["reward_difference"]["interval"]
    assert low < 0.0 < high
    assert mixture["verdict"] in {"unclear", "as good"}


def test_a_cheaper_policy_that_is_worse_is_called_so():
    found = compared(rows(4000, share_dear=0.3, truth={"cheap": 0.5, "dear": 0.8}))
    cheap, dear = found["arms"]
    assert (dear["verdict"], dear["cheaper"], dear["settles"]) == ("worse", True, None)
    assert dear["saved_share"] == pytest.approx(1 - found["cost_usd_per_decision"] / 0.01)
    assert (cheap["verdict"], cheap["cheaper"]) == ("better", False)
    assert cheap["reward_difference"]["mean"] == pytest.approx(0.09, abs=0.03)
    assert dear["words"].startswith("Always dear: 1")
    assert "points better than routing, at 2.6 times the cost (worth 1,200 uniformly drawn answers)." in dear["words"]


def test_of_arms_that_are_alike_a_twentieth_is_told_apart():
    told = 0
    for seed in range(60):
        found = compared(rows(1000, share_dear=0.5, truth={"cheap": 0.6, "dear": 0.6}, seed=seed))
        told += found["arms"][1]["verdict"] not in {"unclear", "as good"}
    assert told <= 9  # 3 are expected; more than 9 of 60 come once in a thousand times


def test_of_little_data_the_interval_is_wide_and_what_would_settle_it_is_said():
    _, dear = compared(rows(300, share_dear=0.1, truth={"cheap": 0.6, "dear": 0.6}))["arms"]
    low, high = dear["reward_difference"]["interval"]
    assert (dear["verdict"], high - low > 0.1, dear["reason"]) == ("unclear", True, None)
    assert dear["settles"]["share"] == pytest.approx(0.1)
    assert dear["settles"]["words"].startswith("by about ")
    assert dear["settles"]["words"] in dear["words"]
    still = compared(rows(300, share_dear=0.1, truth={"cheap": 0.6, "dear": 0.6}), Pace(NOW_US))["arms"][1]["settles"]
    assert still["at"] is None
    assert still["words"] == f"after {still['decisions']:,} more rated decisions"


def test_of_no_data_there_is_no_interval_and_the_reason_is_said():
    nothing = savings([], ["cheap"], {}, PACE, DEAR)
    [cheap] = nothing["arms"]
    assert (cheap["verdict"], cheap["reward"]) == (None, None)
    assert cheap["reason"] == "no decision that cheap could have answered has a reward so far"
    assert nothing["mixture"]["reason"].startswith("too little is known of cheap")
    made, total = rows(50, share_dear=0.0, truth={"cheap": 0.6, "dear": 0.6})
    dear = compared((made, total))["arms"][1]
    assert (dear["verdict"], dear["unsupported_decisions"], dear["rated_decisions"]) == (None, 50, 0)
    assert "could not be drawn on any of the 50 rated decisions" in dear["reason"]


def test_a_verdict_of_a_part_of_the_decisions_says_so():
    made, total = rows(3000, share_dear=0.5, truth={"cheap": 0.5, "dear": 0.8}, eligible=2000)
    found = compared((made, total | {"drawn_rewards": 4000}))
    assert {arm["reason"] for arm in found["arms"]} == {
        "on 3,000 of 4,000 rated decisions: on the others it could not be drawn"
    }
    assert found["arms"][0]["saved_usd_per_decision"] is None
    assert found["arms"][0]["verdict"] == "better"


def test_costs_are_settled_ones_once_half_of_the_decisions_are():
    made, total = rows(1000, share_dear=0.3, truth={"cheap": 0.5, "dear": 0.8})
    assert compared((made, total))["basis"] == "predicted"
    settled = {"compared_decisions": 900, "compared_usd": 0.9, "compared_fixed_usd": 1.8}
    found = compared(([row | settled for row in made], total))
    assert (found["basis"], found["cost_usd_per_decision"]) == ("settled", pytest.approx(0.001))
    assert found["arms"][1]["cost_usd_per_decision"] == pytest.approx(0.002)
    assert found["arms"][1]["saved_share"] == pytest.approx(0.5)


def test_a_row_of_sums_keeps_the_order_of_its_fields():
    row = dict(zip(FIXED_ARM_SUMS, range(1, 8), strict=True))
    assert fixed_arm_sums(row) == FixedArmSums(1, 2, 3, 4, 5, 6, 7)


def test_the_reference_arm_settles_at_its_share_and_an_arm_that_gets_nothing_never():
    _, dear = compared(rows(200, share_dear=0.004, truth={"cheap": 0.6, "dear": 0.6}))["arms"]
    assert dear["settles"]["share"] == 0.05
    unseen = FixedArmSums(rated=0, unsupported=100)
    assert settles(unseen, PACE, share=0.0) is None
    assert settles(unseen, PACE, share=0.05) is None, "nothing is foretold from no reward"
    hardly = FixedArmSums(rated=40, drawn=2, inverse_probability=800.0, residual_power=0.5)
    assert settles(hardly, PACE, share=0.0)["share"] == pytest.approx(0.05)


def test_a_date_more_than_a_year_away_is_not_foretold():
    hardly = FixedArmSums(rated=40, drawn=2, inverse_probability=800.0, residual_power=0.5)
    missing = settles(hardly, Pace(NOW_US), share=0.05)["decisions"]
    for days, dated in ((300, True), (400, False)):
        found = settles(hardly, Pace(NOW_US, missing / (days * 86_400)), share=0.05)
        assert (found["at"] is not None, found["words"].startswith("by about ")) == (dated, dated)
    assert found["words"] == f"after {missing:,} more rated decisions"


@pytest.mark.parametrize(
    ("gain", "said"),
    [
        (0.01, "between 3.2 points better and 1.2 worse than routing, at 2.7 times the cost"),
        (0.10, "7.8 to 12.2 points better than routing, at 2.7 times the cost"),
        (-0.10, "7.8 to 12.2 points worse than routing, at 2.7 times the cost"),
    ],
)
def test_an_interval_in_words(gain, said):
    n = 2000
    sums = FixedArmSums(n, 0, 1000, (0.5 + gain) * n, gain * n, inverse_probability=2 * n, residual_power=250.0)
    assert said in arm_in_words("x", sums, 2.7, None)


@pytest.mark.parametrize(
    ("ahead_s", "said"),
    [
        (600, "within the hour"),
        (2.2 * 3600, "by about 14:00 UTC"),
        (2 * 86_400, "by about Saturday"),
        (20 * 86_400, "by about 25 March"),
        (400 * 86_400, "by about 9 April 2027"),
    ],
)
def test_a_time_in_words(ahead_s, said):
    assert time_in_words(NOW_US + int(ahead_s * 1e6), NOW_US) == said


def test_dollars_of_an_arm_alone_say_how_many_decisions_they_are_of() -> None:
    total: dict[str, Any] = {"decisions": 100, "predicted_spend_usd": 5.0}
    row = {"arm": "a", "fixed_decisions": 100, "fixed_cost_usd": 9.0}
    settled = {"compared_decisions": 60, "compared_usd": 4.0, "compared_fixed_usd": 6.0}
    [predicted] = arm_rows([row], [], total)
    [half] = arm_rows([row | settled], [], total)
    assert predicted["fixed"] == {
        "would_have_cost_usd": 9.0, "on_decisions": 100, "saved_usd": 4.0, "basis": "predicted", "reason": None,
    }  # fmt: skip
    assert half["fixed"] == {
        "would_have_cost_usd": 6.0, "on_decisions": 60, "saved_usd": 2.0, "basis": "settled", "reason": None,
    }  # fmt: skip
