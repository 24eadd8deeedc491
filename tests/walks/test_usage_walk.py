"""What a usage report sets in motion, whether it speaks of tokens or of dollars."""

from __future__ import annotations

from typing import Any

import pytest
from tests.walks.conftest import OpenDaemon

from banditd.core.types import Query, UsageReport

LARGE = ("large",)
# The price of large: 3 dollars per million tokens in, 15 out.
TOKENS = {"input_tokens": 1000, "output_tokens": 200}
COST_USD = (1000 * 3.0 + 200 * 15.0) / 1e6


@pytest.mark.parametrize("said", [TOKENS, {"cost_usd": COST_USD}])
async def test_the_budget_is_settled_once_at_what_was_paid(open_daemon: OpenDaemon, said: dict[str, Any]) -> None:
    async with open_daemon(budget_usd_per_decision=0.01) as daemon:
        decision = await daemon.services.routing.route(Query(text="x", candidates=LARGE))
        pacer = daemon.services.routing._pacers["default"]
        assert pacer.spent_usd != pytest.approx(COST_USD)
        for _ in range(2):
            await daemon.services.rewards.report_usage(UsageReport(decision_id=decision.decision_id, **said))
        assert pacer.spent_usd == pytest.approx(COST_USD)


@pytest.mark.parametrize("said", [{}, {"cost_usd": 0.001}, {"input_tokens": 3}])
async def test_errors_open_the_breaker_of_the_arm_that_served(open_daemon: OpenDaemon, said: dict[str, Any]) -> None:
    async with open_daemon(breaker_errors=2) as daemon:
        routing, rewards = daemon.services.routing, daemon.services.rewards
        for _ in range(2):
            decision = await routing.route(Query(text="x", candidates=LARGE))
            failed = UsageReport(decision_id=decision.decision_id, served_arm="small", error="timeout", **said)
            await rewards.report_usage(failed)
        decision = await routing.route(Query(text="x"))
        assert decision.exclusions["small"] == "breaker_open"
        assert "large" in decision.arms
        assert b'banditd_upstream_errors_total{arm="small",policy="default"} 2.0' in daemon.metrics.render()
