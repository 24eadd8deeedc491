"""What would settle whether a promise was kept, in words."""

from __future__ import annotations

import pytest

from banditd.ope.reference import Verdict
from banditd.services.promising.reports import settled_by

FEW = "at least {} more rewarded decisions: there are too few to say how many"


def verdict(rated: int, worth: float) -> Verdict:
    found = {"reward": 0.8, "baseline_reward": 0.8, "half_width": 0.1, "ratio": 1.0, "low": 0.9, "high": 1.1}
    return Verdict(rated, 0, worth, **found)


@pytest.mark.parametrize(("rated", "worth", "least"), [(0, 0.0, 50), (2, 2.0, 48), (19, 9.6, 41)])
def test_of_a_few_rewards_it_says_only_how_many_are_needed_at_least(rated: int, worth: float, least: int) -> None:
    assert settled_by(verdict(rated, worth), 0.95) == FEW.format(least)


def test_of_enough_it_says_how_many_more_and_nothing_of_what_is_known() -> None:
    assert settled_by(verdict(20, 10.0), 0.95) == "about 80 more rewarded decisions"
    assert settled_by(verdict(1000, 200.0), 0.85) is None
