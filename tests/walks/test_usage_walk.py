"""What a usage report sets in motion, whether it speaks of tokens or of dollars."""

from __future__ import annotations

from typing import Any

import pytest
from tests.walks.conftest import OpenDaemon

from banditd.core.types import Query, UsageReport

LARGE = ("large",)


@pytest.mark.parametrize("said", [{}, {"cost_usd": 0.001}, {"input_tokens": 3}])
async def test_errors_open_the_breaker_of_the_arm_that_failed(open_daemon: OpenDaemon, said: dict[str, Any]) -> None:
    async with open_daemon(breaker_errors=2) as daemon:
        routing, rewards = daemon.services.routing, daemon.services.rewards
        for _ in range(2):
            decision = await routing.route(Query(text="x", candidates=LARGE))
            await rewards.report_usage(UsageReport(decision_id=decision.decision_id, error="timeout", **said))
        decision = await routing.route(Query(text="x"))
        assert decision.exclusions["large"] == "breaker_open"
        assert "small" in decision.arms
        assert b'banditd_upstream_errors_total{arm="large",policy="default"} 2.0' in daemon.metrics.render()


@pytest.mark.parametrize("error", [None, "timeout", "http_500", "RuntimeError"])
async def test_a_fallback_that_answered_tells_of_the_arm_that_did_not(
    open_daemon: OpenDaemon, error: str | None
) -> None:
    """Its arm is healthy, whatever error is told beside it: that is the chosen arm's."""
    async with open_daemon(breaker_errors=2) as daemon:
        routing, rewards = daemon.services.routing, daemon.services.rewards
        for _ in range(2):
            decision = await routing.route(Query(text="x", candidates=LARGE))
            await rewards.report_usage(UsageReport(decision_id=decision.decision_id, served_arm="small", error=error))
        decision = await routing.route(Query(text="x"))
        assert decision.exclusions.get("large") == "breaker_open"
        assert "small" in decision.arms
