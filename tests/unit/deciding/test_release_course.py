"""The course of a release and its tests: pure, so that every way through it can be walked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from banditd.core.candidate import Candidate
from banditd.core.errors import ConflictError
from banditd.core.release import REPORTED, REWARD, Guardrail, Metric, RatedSides, ReleaseTerms, UnitOutcome
from banditd.deciding.release_course import (
    Author,
    Release,
    aborted,
    arm_disabled,
    looked_at,
    measured,
    observed,
    paused,
    promoted,
    resumed,
)
from banditd.deciding.release_tests import ReleaseTests
from banditd.deciding.release_windows import WINDOW_US, false_alarms_per_month
from banditd.ope.betting import DropTest, growth, log_evidence
from banditd.ope.split import SplitTest

NOW = Author(7, "ops", "a reason")


def make(**terms: Any) -> Release:
    wanted = ReleaseTerms(**{"steps": (0.2, 0.5, 1.0), "least_units": (3,), **terms})
    candidate = Candidate(candidate_id="c", policy="default", name="cheap")
    return Release(release_id="r", policy="default", candidate=candidate, terms=wanted, tests=ReleaseTests.of(wanted))


def outcomes(n: int, worth: dict[bool, float], *, measure: str = REWARD, seed: int = 0, **more: Any) -> Any:
    rng = np.random.default_rng(seed)
    for i in range(n):
        candidate = bool(rng.random() < 0.2)
        value = float(rng.random() < worth[candidate])
        named = {measure: value} if measure == REWARD else {"error": value}
        plain = {"candidate": candidate, "differ": True, "values": named, "share": 0.2}
        yield UnitOutcome(release_id="r", decision_id=str(i), measure=measure, unit=str(i), **(plain | more))


def test_the_stakes_cannot_grow_in_the_mean_at_the_edge_of_what_is_tolerated() -> None:
    """Exactly: over all that a comparison of one pass or fail on each side can give."""
    for quality, worse_by in ((0.9, 0.02), (0.5, 0.1), (0.12, 0.12)):
        p, q = quality - worse_by, quality
        chances = {-1.0: (1 - p) * q, 0.0: p * q + (1 - p) * (1 - q), 1.0: p * (1 - q)}
        factors = np.exp(growth(np.array(list(chances)), worse_by))
        assert (np.array(list(chances.values())) @ factors <= 1.0 + 1e-12).all()
        assert (factors > 0.0).all()


def test_evidence_comes_from_a_drop_and_from_nothing_else() -> None:
    def evidence(worth: dict[bool, float], **more: Any) -> float:
        release = make(metrics=(Metric(alpha=1e-6),))
        observed(release, outcomes(1500, worth, **more), 1)
        return release.tests.tests[REWARD].log_evidence

    assert evidence({True: 0.6, False: 0.9}) > np.log(300.0)
    assert evidence({True: 0.9, False: 0.9}) < 0.0
    assert evidence({True: 0.95, False: 0.6}) < 0.0
    assert evidence({True: 0.6, False: 0.9}, differ=False) == 0.0


def test_the_split_test_notices_what_is_lost_on_one_side_and_nothing_else() -> None:
    rng = np.random.default_rng(1)
    fair, lossy = SplitTest(), SplitTest()
    for _ in range(4000):
        candidate = bool(rng.random() < 0.1)
        fair.add(candidate=candidate, share=0.1)
        if not candidate or rng.random() < 0.6:
            lossy.add(candidate=candidate, share=0.1)
    assert fair.log_evidence < np.log(100.0)
    assert lossy.log_evidence > np.log(1e4)
    assert SplitTest.of_json(fair.as_json()) == fair


@pytest.mark.parametrize(
    ("more", "phase", "said"),
    [
        ({}, "rolled_back", "reward is worse"),
        ({"measure": REPORTED}, "rolled_back", "error is worse"),
        ({"candidate": True}, "error", "nothing can be compared"),
    ],
)
def test_an_alarm_ends_the_release_and_says_why(more: dict[str, Any], phase: str, said: str) -> None:
    ended, events = observed(make(), outcomes(2000, {True: 0.1, False: 0.95}, **more), 9)
    assert (ended.phase, ended.share, ended.ended_at_us) == (phase, 0.0, 9)
    assert [one.event for one in events] == [phase]
    assert said in str(ended.reason)
    assert ended.evidence.keys() == {REWARD, "error", "refusal"}


def test_what_is_kept_of_the_tests_goes_on_where_it_stopped() -> None:
    whole, kept = make(), make()
    all_of_them = list(outcomes(300, {True: 0.8, False: 0.8}))
    observed(whole, all_of_them, 1)
    observed(kept, all_of_them[:150], 1)
    again = ReleaseTests.of_json(kept.tests.as_json())
    for one in all_of_them[150:]:
        again.add(kept.terms, one, 1)
    assert again == whole.tests
    broken = kept.tests.as_json()
    broken["tests"][REWARD]["stakes"] = [0.0]
    with pytest.raises(ValueError, match="stake"):
        ReleaseTests.of_json(broken)
    assert DropTest().interval() is None
    low, high = again.tests[REWARD].interval() or (0.0, 0.0)
    assert low < 0.0 < high


def test_a_step_is_proposed_or_taken_when_it_has_what_it_takes() -> None:
    release = make(guardrails=(Guardrail(measure="error"),))
    assert looked_at(release, 1) == (release, [])
    with pytest.raises(ConflictError, match="3 more rated units"):
        promoted(release, NOW)
    observed(release, outcomes(100, {True: 1.0, False: 1.0}), 1)
    due, events = looked_at(release, 2)
    assert (due.due, [one.event for one in events]) == (True, ["step_due"])
    assert looked_at(due, 3)[1] == []
    second, events = promoted(due, NOW)
    assert (second.share, second.due, events[0].key_name, events[0].reason) == (0.5, False, "ops", "a reason")
    with pytest.raises(ConflictError, match="3 more"):
        promoted(second, NOW)
    observed(second, outcomes(40, {True: 1.0, False: 1.0}, seed=1), 3)
    last, _ = promoted(second, NOW)
    assert last.share == 1.0
    with pytest.raises(ConflictError, match="3 more"):
        promoted(last, NOW)
    observed(last, outcomes(3, {True: 1.0, False: 1.0}, share=1.0, candidate=True), 4)
    end, events = promoted(last, NOW)
    assert (end.phase, end.share, events[0].event) == ("promoted", 1.0, "finished")
    auto = make(promote="auto")
    observed(auto, outcomes(100, {True: 1.0, False: 1.0}), 1)
    after, events = looked_at(auto, 2)
    assert (after.step, [one.event for one in events]) == (1, ["promoted"])


def test_no_candidate_becomes_the_incumbent_before_the_last_step_has_its_units_too() -> None:
    release = make(promote="auto", steps=(0.5, 1.0), least_units=(2, 4))
    observed(release, outcomes(40, {True: 1.0, False: 1.0}), 1)
    last, _ = looked_at(release, 2)
    assert (last.share, looked_at(last, 3)) == (1.0, (last, []))
    alone = list(outcomes(4, {True: 1.0, False: 1.0}, share=1.0, candidate=True))
    late = list(outcomes(40, {True: 1.0, False: 1.0}, seed=1))  # of the step before
    for one in [*alone[:3], *late]:
        observed(last, [one], 4)
        assert looked_at(last, 5) == (last, [])
    kept = replace(last, tests=ReleaseTests.of_json(last.tests.as_json()))
    observed(kept, alone[3:], 6)
    end, [event] = looked_at(kept, 7)
    assert (end.phase, event.event) == ("promoted", "finished")


def test_what_was_never_compared_becomes_the_incumbent_by_force_alone() -> None:
    release = make(promote="auto", least_units=(0, 3))
    release.tests.measured_by = {"judge quality": "a"}
    forced = replace(release, step=1)
    observed(forced, outcomes(40, {True: 1.0, False: 1.0}), 1)
    last, _ = looked_at(forced, 2)
    assert last.share == 1.0
    anew, [event] = measured(last, {"judge quality": "b"}, 3)
    assert event.event == "measurement_changed"
    skipped, _ = promoted(replace(make(promote="auto"), step=1), NOW, force=True)
    for one in (anew, skipped):
        observed(one, outcomes(9, {True: 1.0, False: 1.0}, share=1.0, candidate=True), 4)
        assert looked_at(one, 5) == (one, [])
        with pytest.raises(ConflictError, match="3 of the candidate's units compared"):
            promoted(one, NOW)
        assert promoted(one, NOW, force=True)[0].phase == "promoted"


def test_no_step_is_taken_while_much_speaks_against_the_candidate() -> None:
    release = make(metrics=(Metric(alpha=0.001),))
    rows = iter(outcomes(3000, {True: 0.7, False: 0.95}))
    while release.tests.tests[REWARD].log_evidence < np.log(1000.0) - 1.0:
        observed(release, [next(rows)], 1)
    assert release.phase == "running"
    assert looked_at(release, 2)[1] == []
    with pytest.raises(ConflictError, match="evidence against its reward"):
        promoted(release, NOW)


def test_verbs_done_twice_are_done_once_and_an_end_is_an_end() -> None:
    release = make()
    held, events = paused(release, NOW)
    assert (held.phase, held.share, len(events)) == ("paused", 0.2, 1)
    assert paused(held, NOW) == (held, [])
    observed(held, outcomes(100, {True: 1.0, False: 1.0}), 1)
    assert looked_at(held, 2)[1] == []
    assert resumed(held, NOW)[0].phase == "running"
    assert resumed(release, NOW) == (release, [])
    over, events = aborted(held, NOW)
    assert (over.phase, over.share, len(events)) == ("aborted", 0.0, 1)
    assert aborted(over, NOW) == (over, [])
    for verb in (promoted, paused, resumed):
        with pytest.raises(ConflictError, match="ended"):
            verb(over, NOW)


def test_the_mean_over_the_bets_is_what_is_called_evidence() -> None:
    stakes = np.log(np.array([[1.0, 3.0], [2.0, 2.0]]))
    assert log_evidence(stakes) == pytest.approx([np.log(2.0)] * 2)


def test_no_step_is_taken_while_the_sides_are_rated_in_different_shares() -> None:
    release = make(least_units=(0,))
    seen = RatedSides(after_id="", until_id="1", candidate=(90, 300), incumbent=(480, 1200))
    for _ in range(2):  # once, however often it is counted
        release.tests.count_rated(seen)
    assert release.tests.rated == {"candidate": [90, 300], "incumbent": [480, 1200]}
    assert release.tests.rated_apart == (0.3, 0.4)
    assert looked_at(release, 1) == (release, [])
    with pytest.raises(ConflictError, match="rated alike"):
        promoted(release, NOW)
    assert ReleaseTests.of_json(release.tests.as_json()).rated_apart == (0.3, 0.4)
    release.tests.count_rated(replace(seen, after_id="1", until_id="2", candidate=(300, 620), incumbent=(0, 0)))
    assert release.tests.rated_apart is None  # 42 and 40 %
    assert looked_at(release, 1)[0].due
    few = make(least_units=(0,))
    few.tests.count_rated(replace(seen, candidate=(3, 10), incumbent=(40, 100)))
    assert few.tests.rated_apart is None  # by chance


def test_two_bad_windows_in_a_row_end_a_release_that_asked_for_it() -> None:
    def play(worth: Sequence[float], *, windowed: bool = True, each: int = 400) -> Release:
        """Quarters of an hour in which the candidate passes in these shares, the incumbent in nine of ten."""
        release = make(windowed=windowed, metrics=(Metric(worse_by=0.5),), guardrails=())
        for window, share in enumerate([*worth, 0.9]):
            for one in outcomes(each, {True: share, False: 0.9}, seed=window):
                release, _ = observed(release, [one], window * WINDOW_US)
        return release

    ended = play([0.5, 0.5])
    assert (ended.phase, "2 windows of 15 minutes in a row" in str(ended.reason)) == ("rolled_back", True)
    assert play([0.5, 0.9, 0.5]).open  # not in a row
    assert play([0.5, 0.5], windowed=False).open
    assert play([0.5, 0.5], each=100).open  # twenty answers in a window say nothing
    assert false_alarms_per_month(0.05) < false_alarms_per_month(0.5) < 2.0


def test_an_arm_that_an_operator_disables_is_the_candidates_no_more() -> None:
    arms = {"small": {"enabled": True, "min_share": 0.1}}
    release = replace(make(), candidate=replace(make().candidate, arms=arms))
    after, [event] = arm_disabled(release, "small", Author(9))
    assert after.candidate.arms == {"small": {"enabled": False, "min_share": 0.1}}
    assert event.event == "arm_disabled"
    for other, arm in ((after, "small"), (release, "large"), (replace(release, phase="aborted"), "small")):
        assert arm_disabled(other, arm, Author(9)) == (other, [])
