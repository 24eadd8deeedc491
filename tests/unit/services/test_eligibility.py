"""Traffic caps: what takes an arm out when it has had its share."""

from __future__ import annotations

import dataclasses

from tests.unit.deciding.test_eligible import CHEAP, DEAR, arm, view

from banditd.services.eligibility import TrafficCaps


def test_a_traffic_cap_holds_in_the_long_run() -> None:
    v = view(dataclasses.replace(CHEAP, max_share=0.2), DEAR)
    caps = TrafficCaps()
    served = 0
    for _ in range(5000):
        chosen = "dear" if "cheap" in caps.exclusions(v) else "cheap"
        served += chosen == "cheap"
        caps.count(v, chosen)
    assert 0.19 <= served / 5000 <= 0.205


def test_a_decision_that_is_taken_back_leaves_the_caps_as_they_were() -> None:
    v = view(arm("a"), arm("capped", max_share=0.3), arm("other", max_share=0.6))
    caps = TrafficCaps()
    for chosen in ("capped", "a", "other"):
        for _ in range(40):
            caps.count(v, chosen)
            caps.take_back(v, chosen)
    assert caps.exclusions(v) == {}
    caps.count(v, "capped")
    assert caps.exclusions(v) == {"capped": "max_share"}


def test_calls_have_a_price_only_where_an_arm_is_capped() -> None:
    caps = TrafficCaps()
    assert caps.prices(view(arm("a"), arm("b"))) is None
    prices = caps.prices(view(arm("a"), arm("capped", max_share=0.3)))
    assert prices is not None
    assert prices.tolist() == [0.0, 0.0], "nothing has been decided yet"
