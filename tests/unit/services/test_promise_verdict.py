"""What is concluded where the promises of a candidate and of its policy were kept anew over a log."""

from __future__ import annotations

import numpy as np
import pytest

from banditd.core.candidate import Candidate
from banditd.core.evaluation import Question
from banditd.ope.difference import Compared, difference_terms
from banditd.ports.evaluations import Coverage
from banditd.services.candidates.verdict import Evidence, finding_of
from banditd.services.candidates.walk import Walked


def walked(astray: float, *, kept_anew: bool) -> Walked:
    """A candidate that answers a tenth otherwise, and earns as much. astray : the policy's draws from the log's."""
    n = 4000
    rng = np.random.default_rng(1)
    logged = np.tile([0.5, 0.5], (n, 1))
    other = logged + np.array([astray, -astray])
    drawn = (rng.random(n) < 0.5).astype(np.intp)
    terms = difference_terms(
        Compared(
            logged=logged, wanted=other + np.array([0.1, -0.1]), other=other, mean=np.full((n, 2), 0.5), drawn=drawn,
            reward=(rng.random(n) < 0.5).astype(float), predicted=np.full(n, 0.5), cost_usd=np.ones((n, 2)),
        )
    )  # fmt: skip
    found = Walked(shares={"a": 0.5, "b": 0.5}, other_shares={"a": 0.5, "b": 0.5}, kept_anew=kept_anew)
    for sums in (found.sums, *found.halves):
        sums.add(terms)
    return found


@pytest.mark.parametrize(("astray", "kept_anew", "phase"), [
    (0.05, True, "passed"), (0.3, True, "inconclusive"), (0.3, False, "passed"),
])  # fmt: skip
def test_a_promise_whose_course_is_not_found_again_says_nothing_of_another(
    astray: float, kept_anew: bool, phase: str
) -> None:
    question = Question(candidate=Candidate(candidate_id="c", policy="p", name="less"), margin=0.03)
    counted = Coverage(decisions={"a": 1, "b": 1}, rated={"a": 1, "b": 1})
    evidence = Evidence(question=question, disabled=frozenset(), coverage=counted)
    finding = finding_of(walked(astray, kept_anew=kept_anew), evidence)
    assert finding.phase == phase
    assert (finding.phase == "inconclusive") == ("30 %" in finding.reason)
    if finding.settles is not None:
        assert "steady" in finding.settles
