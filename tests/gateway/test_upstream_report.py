"""``GET /v1/stats/upstreams``: every call counts once, with its ending, below its upstream and its arm."""

from __future__ import annotations

from typing import Any

import aiohttp
import numpy as np
import openai
import pytest
from openai import AsyncOpenAI
from tests.gateway.conftest import Serve, Served, arm
from tests.gateway.test_faults import read, settled

from banditd.core.attempts import Attempt
from banditd.core.rewards import UsageReport
from banditd.core.types import Query
from banditd.ports.dashboard import AttemptGroup, RecentCalls
from banditd.services.reports.upstreams import upstream_report


async def look(served: Served, query: str = "") -> dict[str, Any]:
    async with aiohttp.ClientSession() as session, session.get(f"{served.base}/stats/upstreams{query}") as answer:
        assert answer.status == 200, await answer.text()
        return dict(await answer.json())


async def test_calls_count_by_upstream_and_by_arm(serve: Serve) -> None:
    second = {"base_url": "http://127.0.0.1:9/v1"}
    async with (
        serve("500@a", "ok", "401", arm("idle", upstream="second"), upstreams={"second": second}) as served,
        AsyncOpenAI(base_url=served.base, api_key="none", max_retries=0) as ai,
    ):
        before = await look(served)
        assert (before["attempts"], before["calls"], before["error_share"], before["gateway"]) == (0, 0, None, True)
        assert {one["upstream"]: one["arms"] for one in before["upstreams"]} == {
            "up": ["401", "500@a", "ok"], "second": ["idle"],
        }  # fmt: skip
        assert await read(ai, stream=True)
        assert await read(ai, "banditd/arm/ok", stream=False)
        with pytest.raises(openai.APIStatusError):
            await read(ai, "banditd/arm/401")
        await settled(served)
        found = await look(served, "?policy=default&window_s=600")
        assert (found["calls"], found["fallbacks"], found["failed"], found["open"]) == (3, 1, 1, 0)
        assert found["attempts"] == found["ok"] + sum(found["errors"].values())
        assert (found["ok"], found["errors"]) == (2, {"auth": 1, "server": 2})  # a 500 is asked once more
        assert found["first_token_ms"]["count"] == 1
        assert found["latency_ms"]["count"] == 2
        by_arm = {one["arm"]: one for one in found["by_arm"]}
        assert (by_arm["500@a"]["attempts"], by_arm["500@a"]["errors"]) == (2, {"server": 2})
        assert by_arm["ok"]["error_share"] == 0.0
        assert by_arm["ok"]["cost_usd"] > 0
        assert by_arm["idle"]["attempts"] == 0
        assert [one["upstream"] for one in found["upstreams"]] == ["up", "second"]
        assert found["upstreams"][0]["attempts"] == found["attempts"]
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{served.base}/stats/upstreams?policy=nobody") as answer:
                assert answer.status == 404
            async with session.get(f"{served.base}/stats/upstreams?window_s=1") as answer:
                assert answer.status == 422


async def test_only_calls_of_the_window_count(serve: Serve) -> None:
    async with serve("ok") as served:
        services = served.daemon.services
        decision = await services.routing.route(Query(policy="default", text="hello"))
        report = UsageReport(decision_id=decision.decision_id, attempts=(Attempt(arm="ok", latency_ms=5.0),))
        await services.rewards.report_usage(report)
        reader = served.daemon.storage.dashboard
        assert (await reader.recent_calls("default", decision.created_at_us - 1_000, 10)).ended == {None: 1}
        assert (await reader.recent_calls("default", decision.created_at_us + 1_000, 10)).ended == {}
        assert (await reader.recent_calls("other", 0, 10)).groups == []


def test_a_client_that_hung_up_is_no_error_and_an_arm_that_has_gone_has_no_upstream() -> None:
    def group(name: str, error: str | None) -> AttemptGroup:
        return AttemptGroup(
            arm=name, error=error, attempts=1, cost_usd=0.0, latency_ms=np.ones(1), first_token_ms=np.zeros(0)
        )

    recent = RecentCalls(
        ended={"client_gone": 1, None: 1}, fallbacks=1, truncated=False,
        groups=[group("a", "client_gone"), group("gone", None)],
    )  # fmt: skip
    found: Any = upstream_report(recent, {"a": "up", "own": None})
    assert (found["failed"], found["fallbacks"], found["error_share"]) == (0, 1, 0.0)
    assert {one["upstream"]: one["arms"] for one in found["upstreams"]} == {"up": ["a"], None: ["gone", "own"]}
    assert found["first_token_ms"] is None


async def test_calls_stand_under_opentelemetrys_names(serve: Serve) -> None:
    async with serve("500", "ok") as served, aiohttp.ClientSession() as session:
        body = {"model": "banditd/auto", "messages": [{"role": "user", "content": "hi"}], "stream": True}
        async with session.post(f"{served.base}/chat/completions", json=body) as answer:
            await answer.read()
        await served.daemon.services.gateway.settled()  # type: ignore[union-attr]
        sample = served.daemon.metrics.registry.get_sample_value
    ok, failed = (
        {"gen_ai_operation_name": "chat", "gen_ai_provider_name": "openai", "gen_ai_request_model": model}
        for model in ("ok", "500")
    )
    seconds, first = "gen_ai_client_operation_duration_seconds", "gen_ai_client_operation_time_to_first_chunk_seconds"
    assert sample(f"{seconds}_count", {**ok, "error_type": ""}) == 1
    assert sample(f"{seconds}_count", {**failed, "error_type": "server"}) == 2  # a failed server is asked once more
    assert (sample(f"{first}_count", ok), sample(f"{first}_count", failed)) == (1, None)
    tokens = [
        sample("gen_ai_client_token_usage_sum", {**ok, "gen_ai_token_type": one}) for one in ("input", "output")
    ]
    assert tokens == [11, 5]
