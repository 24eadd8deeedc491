"""What a usage report sets in motion, whether it speaks of tokens or of dollars."""

from __future__ import annotations

from typing import Any

import pytest
from tests.walks.conftest import OpenDaemon

from banditd.core.attempts import Attempt
from banditd.core.rewards import UsageReport
from banditd.core.types import Query

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
        stats: Any = await daemon.services.reports.stats("default", None)
        away = {row["arm"]: row["away"] for row in stats["arms"]}
        assert (away["small"], away["large"]["reason"]) == (None, "breaker_open")
        assert (await daemon.services.reports.arm_statistics("default"))["large"]["away"] == away["large"]
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


async def test_attempts_count_for_their_own_arms_whoever_was_chosen(open_daemon: OpenDaemon) -> None:
    async with open_daemon(breaker_errors=3) as daemon:
        routing, rewards = daemon.services.routing, daemon.services.rewards
        for _ in range(3):
            decision = await routing.route(Query(text="x"))
            told = (Attempt(arm="large", error="timeout"), Attempt(arm="small"))
            report = UsageReport(decision_id=decision.decision_id, attempts=told)
            for _ in range(2):  # a repeat counts nothing
                await rewards.report_usage(report)
        for _ in range(20):
            decision = await routing.route(Query(text="x"))
            assert (decision.arm, decision.exclusions.get("large")) != ("large", None)
            assert decision.exclusions.get("large") == "breaker_open"
            assert "small" not in decision.exclusions


async def test_a_revision_does_not_count_a_call_again(open_daemon: OpenDaemon) -> None:
    async with open_daemon(breaker_errors=3) as daemon:
        routing, rewards = daemon.services.routing, daemon.services.rewards
        decision = await routing.route(Query(text="x", candidates=LARGE))
        for n in range(5):
            failed = UsageReport(decision_id=decision.decision_id, error="timeout", latency_ms=float(n))
            assert (await rewards.report_usage(failed)).revision == n
        assert (await routing.route(Query(text="x"))).exclusions == {}


async def test_the_wait_of_an_overloaded_arm_is_its_own(open_daemon: OpenDaemon) -> None:
    async with open_daemon(breaker_errors=50) as daemon:
        decision = await daemon.services.routing.route(Query(text="x", candidates=LARGE))
        told = (Attempt(arm="large", error="overload", retry_after_s=60.0), Attempt(arm="small"))
        await daemon.services.rewards.report_usage(UsageReport(decision_id=decision.decision_id, attempts=told))
        assert (await daemon.services.routing.route(Query(text="x"))).exclusions == {"large": "cooling_down"}
