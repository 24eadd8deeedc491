"""What is said of a judge: by arm, of its comparisons, and whether it is trusted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from banditd.core.comparing import Compared, shows_served_first
from banditd.core.ids import new_id
from banditd.core.judging import JudgeAccount, JudgeCost, JudgeRule, LabelledVerdict
from banditd.core.probing import ProbeAccount, ProbeRule, ProbeTally
from banditd.ope.means import weighted_mean
from banditd.services.judging.by_arm import probes_by_arm, verdicts_by_arm
from banditd.services.judging.comparison_state import MOST_DRAWN, comparison_state, equal_length_of
from banditd.services.judging.desk import judge_fields
from banditd.services.judging.probe_state import ProbeStates
from banditd.services.judging.trust import FEWEST_LABELS, standing_of, trust_words

RULE = JudgeRule(name="quality", probes=ProbeRule(share=0.1, usd_per_day=1.0, compare=True))


def verdict(arm: str, score: float, label: float | None = None, probability: float = 0.5) -> LabelledVerdict:
    return LabelledVerdict(decision_id="d", arm=arm, score=score, probability=probability, label=label)


def test_each_arm_has_its_mean_as_in_the_traffic_and_what_the_judge_gives_beyond_people() -> None:
    verdicts = [verdict("b", 0.9, 0.5), verdict("a", 1.0, probability=0.1), verdict("a", 0.0, 0.2), verdict("a", 0.0)]
    first, second = verdicts_by_arm(verdicts)
    assert (first["arm"], first["judged"], first["labels"]) == ("a", 3, 1)
    assert first["mean_score"] == pytest.approx(10.0 / (10.0 + 2.0 + 2.0))
    assert first["beyond_people"] == pytest.approx(-0.2)
    assert (second["arm"], second["interval"], second["beyond_people"]) == ("b", None, pytest.approx(0.4))
    assert verdicts_by_arm([]) == []


def test_the_interval_of_a_weighted_mean_holds_it() -> None:
    generator, held = np.random.default_rng(2), 0
    for _ in range(200):
        values = (generator.random(600) < 0.3).astype(float)
        probability = np.where(values > 0.0, 0.4, 0.1)
        drawn = generator.random(600) < probability
        low, high = weighted_mean(values[drawn], probability[drawn]).interval or (1.0, 0.0)
        held += low <= 0.3 <= high
    assert held >= 186


def test_probes_are_those_of_the_judge() -> None:
    tallies = [
        ProbeTally(judge="quality", arm="a", drawn=1, answered=1, cost_usd=0.5),
        ProbeTally(judge="other", arm="a", drawn=9, answered=9, cost_usd=9.0),
        ProbeTally(judge="quality", arm="b", drawn=5, answered=2, cost_usd=0.1),
    ]
    assert [(one["arm"], one["drawn"], one["spend_usd"]) for one in probes_by_arm(tallies, "quality")] == [
        ("b", 5, 0.1), ("a", 1, 0.5),
    ]  # fmt: skip


def compared(n: int, *, chars: int | None = 900) -> list[Compared]:
    outcomes = ("served", "served", "same", "inconsistent", "baseline")
    return [
        Compared(
            policy="default", arm="dear", outcome=outcomes[i % 5], served_chars=None if chars is None else 300 + i,
            answer_chars=chars,
        )
        for i in range(n)
    ]  # fmt: skip


def test_a_long_answer_is_said_to_be_one_and_ties_are_half() -> None:
    [state] = comparison_state(RULE, compared(30), 4)
    assert (state["win_rate"], state["waiting"]) == (pytest.approx((6 + 0.5 * 12) / 30), 4)
    equal = state["equal_length"]
    assert isinstance(equal, dict)
    assert (equal["pairs"], equal["raw_win_rate"]) == (30, state["win_rate"])
    assert "2.9 times as long: they win 40% (a tie is half), and at equal length" in str(state["words"])
    assert comparison_state(RULE, [], 0) == []


def test_a_judge_that_goes_by_the_order_does_not_say_that_all_is_well() -> None:
    turned = [replace(one, outcome="inconsistent") for one in compared(57)]
    [state] = comparison_state(RULE, turned, 0)
    assert state["preferred"] == "rarely"
    assert "goes by the order" in str(state["words"])
    assert "That is rare" not in str(state["words"])


def test_lengths_that_nobody_has_kept_say_nothing() -> None:
    assert equal_length_of(compared(30, chars=None)) is None
    [state] = comparison_state(RULE, [*compared(30, chars=None), *compared(3)], 0)
    assert state["equal_length"] is None
    assert "equal length" not in str(state["words"])


def test_the_way_of_the_test_is_short_and_ends_where_the_test_stands() -> None:
    undecided = [one for _ in range(150) for one in compared(7)]  # one in seven: neither rarely nor often
    [state] = comparison_state(RULE, undecided, 0)
    way = state["way"]
    assert isinstance(way, list)
    assert 1 < len(way) <= MOST_DRAWN + 1
    assert way[-1][1] == state["log_odds"]
    assert [n for n, _ in way] == sorted({n for n, _ in way})


def test_trust_is_said_in_words() -> None:
    def labelled(n: int) -> list[LabelledVerdict]:
        return [verdict("a" if i % 2 else "b", float(i % 4 > 1), float(i % 4 > 1)) for i in range(n)]

    assert "whether it favours an arm is not known" in trust_words(standing_of([verdict("a", 1.0)]), None)
    assert f"7 of {FEWEST_LABELS} labels" in trust_words(standing_of(labelled(7)), None)
    assert trust_words(standing_of(labelled(60)), None).startswith("Trusted, its scores teach: in 60")
    assert trust_words(standing_of(labelled(60)), "it favours a") == (
        "Not trusted, its scores do not teach: it favours a."
    )


def test_which_answer_comes_first_is_a_fair_coin_of_the_task() -> None:
    ids = [new_id(1) for _ in range(400)]
    assert 140 < sum(map(shows_served_first, ids)) < 260
    assert all(shows_served_first(one) == shows_served_first(one) for one in ids)


def test_small_sums_are_said_as_they_are_and_one_is_no_plural() -> None:
    account = JudgeAccount(judged=1, cost=JudgeCost(cost_usd=0.0027))
    words = judge_fields(RULE, account, standing_of([]), None)["words"]
    assert str(words).startswith("quality: 1 answer judged for $0.0027.")
    probes = {"quality": ProbeAccount(answered=1, dropped=1, cost_usd=0.0027)}
    state = ProbeStates(life=probes, day=probes, waiting={}, by_arm=[]).of(RULE) or {}
    assert state["words"] == (
        "Probes for quality: other arms answered 1 query for $0.0027; $0.0027 of at most $1.00 in the last 24 hours. "
        "1 was not made, for want of money, room or time."
    )
