"""What a usage report sets in motion, whether it speaks of tokens or of dollars."""

from __future__ import annotations

from typing import Any

import pytest
from tests.walks.conftest import OpenDaemon

from banditd.core.types import Query, UsageReport

LARGE = ("large",)


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
