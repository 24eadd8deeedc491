"""What is spent beside the traffic, in words and off the savings."""

from __future__ import annotations

from typing import Any

import pytest

from banditd.services.reports.judging import Beside, less_judging

SAVINGS: dict[str, Any] = {"saved": {"usd": 10.0}, "words": {"saved": "Much."}, "headline": "Much was saved."}


@pytest.mark.parametrize(
    ("beside", "said"),
    [
        (Beside(1.0, 0.0, 0.0), "Judges cost $1.00 beside the traffic"),
        (Beside(0.0, 2.0, 0.0), "Probes cost $2.00 beside the traffic"),
        (Beside(0.0, 0.0, 3.0), "The classifier cost $3.00 beside the traffic"),
        (Beside(1.0, 2.0, 0.0), "Judges cost $1.00 and probes $2.00 beside the traffic"),
        (Beside(1.0, 2.0, 3.0), "Judges cost $1.00, probes $2.00 and the classifier $3.00 beside the traffic"),
    ],
)
def test_who_has_cost_what_is_said_and_taken_off(beside: Beside, said: str) -> None:
    answer: Any = less_judging(SAVINGS, beside)
    assert answer["words"]["judges"].startswith(f"{said}: ")
    assert answer["words"]["saved"] == "Much."
    assert answer["judges"]["saved_less_judges_usd"] == 10.0 - sum(beside)
    assert answer["headline"].startswith("Much was saved. ")


def test_nothing_is_said_where_nothing_was_spent() -> None:
    assert less_judging(SAVINGS, Beside(0.0, 0.0, 0.0)) == {}
