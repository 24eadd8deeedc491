"""How often one answer is preferred: decided in time, by what came before that alone."""

from __future__ import annotations

import math

import pytest

from banditd.core.comparing import Better, Outcome, outcome_of
from banditd.ope.preference import BOUND, preference_in


def test_it_ends_when_it_knows_and_what_comes_later_changes_nothing() -> None:
    few = math.ceil(BOUND / math.log(2.0))  # preferred every time
    many = math.ceil(BOUND / math.log(9.0 / 8.0))  # preferred never
    assert preference_in([]).side is None
    assert preference_in([True] * (few - 1)).side is None
    often = preference_in([True] * few + [False] * 100)
    assert (often.side, often.after, often.compared, often.preferred) == ("often", few, few + 100, few)
    assert preference_in([False] * (many - 1)).side is None
    rarely = preference_in([False] * many + [True] * 100)
    assert (rarely.side, rarely.after) == ("rarely", many)
    assert (few, many) == (5, 25)


@pytest.mark.parametrize(
    ("served_first", "baseline_first", "outcome"),
    [
        ("second", "first", "baseline"),
        ("first", "second", "served"),
        ("same", "same", "same"),
        ("first", "first", "inconsistent"),  # whichever comes first
        ("second", "second", "inconsistent"),
        ("same", "first", "same"),
        ("second", "same", "same"),
    ],
)
def test_only_what_is_preferred_in_both_orders_is_preferred(
    served_first: Better, baseline_first: Better, outcome: Outcome
) -> None:
    assert outcome_of(served_first, baseline_first) == outcome
