"""Breakers and traffic caps: what takes an arm out for a while."""

from __future__ import annotations

import dataclasses

from tests.unit.deciding.test_eligible import CHEAP, DEAR, arm, view

from banditd.services.eligibility import ArmGuards


def test_a_breaker_opens_after_errors_in_a_row_and_a_success_closes_it() -> None:
    guards = ArmGuards(breaker_errors=3, breaker_s=10)
    for _ in range(2):
        guards.report("a", error=True, now_us=0)
    guards.report("a", error=False, now_us=0)
    for _ in range(3):
        assert not guards.open_breakers(0)
        guards.report("a", error=True, now_us=0)
    assert guards.open_breakers(9_999_999) == {"a"}
    assert not guards.open_breakers(10_000_000)
    guards.report("a", error=True, now_us=10_000_000)
    assert guards.open_breakers(10_000_001) == {"a"}


def test_a_traffic_cap_holds_in_the_long_run() -> None:
    v = view(dataclasses.replace(CHEAP, max_share=0.2), DEAR)
    guards = ArmGuards(breaker_errors=5, breaker_s=30)
    served = 0
    for _ in range(5000):
        chosen = "dear" if "cheap" in guards.exclusions(v, 0) else "cheap"
        served += chosen == "cheap"
        guards.count(v, chosen)
    assert 0.19 <= served / 5000 <= 0.205


def test_a_decision_that_is_taken_back_leaves_the_caps_as_they_were() -> None:
    v = view(arm("a"), arm("capped", max_share=0.3), arm("other", max_share=0.6))
    guards = ArmGuards(breaker_errors=0, breaker_s=1.0)
    for chosen in ("capped", "a", "other"):
        for _ in range(40):
            guards.count(v, chosen)
            guards.take_back(v, chosen)
    assert guards.exclusions(v, 0) == {}
    guards.count(v, "capped")
    assert guards.exclusions(v, 0) == {"capped": "max_share"}
