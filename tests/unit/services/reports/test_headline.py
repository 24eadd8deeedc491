"""The headline's figures and sentences, from sums."""

from __future__ import annotations

from dataclasses import replace

import pytest

from banditd.services.reports.headline import BASELINE_SUMS, HEADLINE_SUMS, dollars_in_words
from banditd.services.reports.headline import headline as headline_of
from banditd.services.reports.savings import Reference
from banditd.services.reports.verdicts import Pace

PACE = Pace(now_us=1_772_712_000_000_000, rated_per_s=0.01)
DEAR = Reference("dear", share=0.05, keep=0.95)


def headline(rows, reference, pace):
    """Of rows per arm: what is read of all arms added up, what is read of the baseline from its row."""
    total = {name: sum(row.get(name, 0) for row in rows) for name in HEADLINE_SUMS}
    mine = next((row for row in rows if row["arm"] == reference.arm), {})
    return headline_of(total, {name: mine[name] for name in BASELINE_SUMS if name in mine}, reference, pace)


def rows(*, rated: int = 2000, gain: float = 0.01, inverse: float = 4000.0, **more: float):
    """Baseline ``dear`` earns .8; half of what there is was drawn of it."""
    dear = {
        "arm": "dear", "decisions": 1000, "fixed_decisions": 2000, "fixed_cost_usd": 16.0, "compared_decisions": 1900,
        "compared_usd": 8.5, "compared_fixed_usd": 15.2, "supported_rewards": rated, "drawn_rewards": rated // 2,
        "fixed_reward_sum": 0.8 * rated, "fixed_gain_sum": gain * rated, "inverse_probability_sum": inverse,
        "residual_power": 0.1 * rated / 2, "tried_decisions": 40, "tried_usd": 0.1, "tried_reward": 4.0,
    }  # fmt: skip
    return [dear | more, {"arm": "cheap", "decisions": 1000, "predicted_spend_usd": 9.0}]


def test_the_headline_is_saved_then_quality_then_the_promise():
    found = headline(rows(), DEAR, PACE)
    assert found["headline"] == (
        "Saved 44 % ($6.70 of $15.20). Quality 98.8 % of dear (97.1 to 100.5). Promise of 95 %: held."
    )
    assert found["held"] == "yes"
    assert found["settles"] is None
    assert found["lost"]["percent"] == pytest.approx(1.25)
    assert found["lost"]["percent_interval"] == pytest.approx([-0.5, 3.0], abs=0.1)
    assert "on 1,900 of 2,000 decisions, by settled costs" in found["words"]["saved"]
    assert found["words"]["exploration"] == (
        "Trying other models on 40 decisions (2 %) cost, as predicted, $0.10 more than what looked best and "
        "0.2 points of quality."
    )


@pytest.mark.parametrize(
    ("gain", "inverse", "held", "said"),
    [
        (0.01, 4000.0, "yes", "is held"),
        (0.12, 4000.0, "no", "is broken"),
        (0.045, 40_000.0, "unknown", "the interval spans it; it should be settled after "),
        (0.01, 200_000.0, "unknown", "worth 20 of its answers, and 50 are needed; it should be settled by about "),
    ],
)
def test_a_promise_is_held_broken_or_not_known_and_then_it_is_said_when(gain, inverse, held, said):
    found = headline(rows(gain=gain, inverse=inverse), DEAR, PACE)
    assert found["held"] == held
    assert said in found["words"]["held"]


def test_a_known_half_width_that_tells_nothing_of_the_promise_is_still_to_be_settled():
    found = headline(rows(gain=0.045, inverse=4000.0), Reference("dear", share=0.05, keep=0.95), PACE)
    low, high = found["lost"]["interval"]
    assert (found["held"], high - low < 4.0) == ("unknown", True), "known to the wanted precision"
    assert found["settles"]["decisions"] > 0
    assert "the interval spans it; it should be settled by about " in found["words"]["held"]


def test_without_rewards_the_money_is_known_and_the_quality_is_not():
    found = headline(rows(rated=0, inverse=0.0), DEAR, PACE)
    assert found["saved"]["usd"] == pytest.approx(6.7)
    assert found["lost"]["points"] is found["lost"]["quality_ratio"] is None
    assert found["settles"] is None, "nothing is foretold from no reward"
    assert found["headline"] == (
        "Saved 44 % ($6.70 of $15.20). Quality against dear: not known yet. Promise of 95 %: not known yet."
    )


def test_dollars_that_prices_do_not_explain_are_said_to_be_wrong():
    said = " But the costs reported are not what the configured prices say (cheap: 10 times), so this is wrong"
    found = headline(rows(), replace(DEAR, billed={"cheap": 10.0}), PACE)
    assert said in found["words"]["saved"]
    assert said in found["headline"]
    assert found["saved"]["billed_over_priced"] == {"cheap": 10.0}
    unknown = headline(rows(), Reference(None, billed={"cheap": 10.0}), PACE)
    assert "is wrong" not in unknown["headline"], "nothing was said to be saved"


def test_without_a_baseline_nothing_is_made_up():
    found = headline(rows(), Reference(None), PACE)
    assert found["saved"]["usd"] is None
    assert "no arm is enabled" in found["headline"]
    gone = headline(rows(), Reference(None, missing="the baseline old is none of the arms; name another"), PACE)
    said = [gone["headline"], gone["words"]["saved"], gone["words"]["lost"], gone["words"]["held"]]
    assert all("the baseline old is none of the arms" in one and "None" not in one for one in said)
    nothing = headline([], DEAR, PACE)
    assert nothing["headline"] == "No decisions yet: nothing is saved and nothing is lost."


def test_routing_that_cost_more_says_so():
    found = headline(rows(compared_usd=20.0), DEAR, PACE)
    assert found["headline"].startswith("Spent more by 32 % ($4.80 of $15.20).")


@pytest.mark.parametrize("spent", [15.2, 15.2 + 1e-14, 15.2 - 1e-14])
def test_what_the_baseline_answered_itself_saves_nothing_whatever_the_rounding(spent):
    found = headline(rows(compared_usd=spent), DEAR, PACE)
    assert found["headline"].startswith("Saved 0 % ($0.00 of $15.20).")


@pytest.mark.parametrize(
    ("lost", "tried", "ends"),
    [
        (
            -4.0,
            40,
            "on 40 decisions (2 %) cost, as predicted, $0.10 more than what looked best, and gained 0.2 points of",
        ),
        (-0.4, 1, "on 1 decision (0.05 %) cost, as predicted, $0.10 more than what looked best and no"),
        (
            20.0,
            40,
            "on 40 decisions (2 %) cost, as predicted, $0.10 more than what looked best and 1.0 point of",
        ),
    ],
)
def test_what_trying_cost_is_never_a_negative_number_in_words(lost, tried, ends):
    found = headline(rows(tried_reward=lost, tried_decisions=tried), DEAR, PACE)
    assert found["words"]["exploration"] == f"Trying other models {ends} quality."


@pytest.mark.parametrize(("rated", "foretold"), [(0, False), (1, False), (19, False), (20, True)])
def test_nothing_is_foretold_from_a_reward_or_two(rated, foretold):
    found = headline(rows(rated=rated, inverse=10.0 * rated), DEAR, PACE)
    assert (found["settles"] is not None, "settled" in found["headline"]) == (foretold, foretold)


def test_where_little_is_settled_predicted_costs_stand_against_predicted_ones():
    found = headline(rows(compared_decisions=10), DEAR, PACE)
    assert (found["saved"]["basis"], found["saved"]["usd"]) == ("predicted", pytest.approx(7.0))
    part = headline(rows(compared_decisions=10, fixed_decisions=500), DEAR, PACE)
    assert part["saved"]["usd"] is None
    assert "500 of 2,000 decisions" in part["saved"]["reason"]


@pytest.mark.parametrize(
    ("usd", "said"),
    [
        (20_000, "$20,000"),
        (6.7, "$6.70"),
        (0.0042, "$0.0042"),
        (0, "$0.00"),
        (0.000012, "$1.2e-05"),
        (0.999, "$1.00"),
        (0.21, "$0.21"),
        (0.1, "$0.10"),
    ],
)
def test_dollars_in_words(usd, said):
    assert dollars_in_words(usd) == said
