"""Points of a release's way: few and evenly apart, whether it runs for an hour or a quarter."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from banditd.core.candidate import Candidate
from banditd.core.release import FOLLOWED, REPORTED, REWARD, Guardrail, ReleaseTerms, UnitOutcome
from banditd.deciding.release_course import Release
from banditd.deciding.release_points import LEAST_GAP_US, MOST_POINTS, given_up, point_of, worth_keeping
from banditd.deciding.release_tests import ReleaseTests

SECOND_US = 1_000_000
TERMS = ReleaseTerms(steps=(0.5, 1.0))


def begun() -> Release:
    candidate = Candidate(candidate_id="c", policy="default", name="cheap")
    return Release(
        release_id="r", policy="default", candidate=candidate, terms=TERMS, tests=ReleaseTests.of(TERMS),
        created_at_us=0,
    )  # fmt: skip


@pytest.mark.parametrize("seconds", [3600, 90 * 86_400])
def test_a_release_keeps_about_as_many_points_however_long_it_runs(seconds: int) -> None:
    release, kept = begun(), [0]
    for at_s in range(0, seconds, max(seconds // 5000, 1)):
        if worth_keeping(release, kept[-1], at_s * SECOND_US):
            kept.append(at_s * SECOND_US)
            gone = {kept[i] for i in given_up(range(len(kept)))}
            kept = [one for one in kept if one not in gone]
        assert len(kept) <= MOST_POINTS
    assert len(kept) > MOST_POINTS / 3
    assert (kept[0], kept[-1] > 0.98 * seconds * SECOND_US) == (0, True)
    gaps = [later - earlier for earlier, later in pairwise(kept)]
    assert min(gaps) >= LEAST_GAP_US
    assert max(gaps) < 0.03 * seconds * SECOND_US


def test_a_point_has_what_the_tests_have() -> None:
    release = begun()
    for i in range(40):
        for measure, value in ((REWARD, {REWARD: float(i % 3 > 0)}), (REPORTED, {"error": 1.0, "refusal": 1.0})):
            outcome = UnitOutcome(
                release_id="r", decision_id=str(i), measure=measure, unit=str(i), candidate=i % 2 == 0, share=0.5,
                differ=True, values=value,
            )  # fmt: skip
            release.tests.add(TERMS, outcome, i)
    point = point_of(release, 7)
    assert (point.at_us, point.share, [*point.measures]) == (7, 0.5, [REWARD, "error", "refusal"])
    for name, one in point.measures.items():
        test = release.tests.tests[name]
        assert one.units == (20, 20)
        assert (one.log_evidence, one.interval) == (test.log_evidence, test.interval())
        assert one.difference == pytest.approx(test.total / test.comparisons)


def test_what_follows_an_answer_is_counted_by_its_own_units() -> None:
    terms = ReleaseTerms(steps=(0.5, 1.0), guardrails=(Guardrail(measure="error"), Guardrail(measure="regeneration")))
    release = replace(begun(), terms=terms, tests=ReleaseTests.of(terms))
    for i, measure in enumerate((REPORTED, REPORTED, FOLLOWED)):
        outcome = UnitOutcome(
            release_id="r", decision_id=str(i), measure=measure, unit=str(i), candidate=True, share=0.5, differ=True,
            values={"regeneration" if measure == FOLLOWED else "error": 1.0},
        )  # fmt: skip
        release.tests.add(terms, outcome, 7)
    units = {name: one.units for name, one in point_of(release, 7).measures.items()}
    assert units == {REWARD: (0, 0), "error": (2, 0), "regeneration": (1, 0)}
