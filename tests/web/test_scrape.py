"""What Prometheus reads from a real daemon that has routed, learned and been told what its calls cost."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client.parser import text_string_to_metric_families
from tests.over_http import client_of

from banditd.core.errors import StorageUnavailableError
from banditd.daemon.open import open_services
from banditd.settings import Settings
from banditd.web.app import WebSettings, create_app

ARMS = [
    {"arm": "small", "price": {"usd_per_mtok_in": 0.1, "usd_per_mtok_out": 0.4}},
    {"arm": "large", "price": {"usd_per_mtok_in": 3.0, "usd_per_mtok_out": 15.0}},
]


async def scrape(client: Any) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """(sample, labels) to value, through the library's own parser."""
    answer = await client.get("/metrics")
    assert answer.status == 200
    assert answer.content_type == "text/plain"
    text = await answer.text()
    found = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation, family.name
        assert family.type in {"counter", "gauge", "histogram"}, family.name
        for sample in family.samples:
            found[sample.name, tuple(sorted(sample.labels.items()))] = sample.value
    return found


def of(samples: Any, name: str, **labels: str) -> float | None:
    return samples.get((name, tuple(sorted(labels.items()))))  # type: ignore[no-any-return]


async def test_a_scrape_says_what_was_routed_learned_and_spent(sqlite_url: str) -> None:
    settings = Settings(
        database={"url": sqlite_url},
        learner={"pause_ms": 0, "poll_s": 0.25},
        policies={"default": {"arms": ARMS, "kind": "uniform", "budget_usd_per_decision": 0.01, "breaker_errors": 0}},
    )
    async with client_of(settings) as client:
        spent = {"small": 0.0, "large": 0.0}
        counts = {"small": 0, "large": 0}
        failed = ""
        for index in range(20):
            decision = await (await client.post("/v1/route", json={"input": f"query {index}"})).json()
            arm = decision["arm"]
            usage: dict[str, Any] = {"input_tokens": 100, "output_tokens": 10, "latency_ms": 1500}
            if index == 0:
                usage = {"error": "timeout", "cost_usd": 0.25}
            for _ in range(2):  # the second is a duplicate and counts for nothing
                path = f"/v1/decisions/{decision['decision_id']}/usage"
                assert (await client.post(path, json=usage)).status == 200
            await client.post("/v1/rewards", json={"decision_id": decision["decision_id"], "value": 0.5})
            price = next(a["price"] for a in ARMS if a["arm"] == arm)
            tokens = (100 * price["usd_per_mtok_in"] + 10 * price["usd_per_mtok_out"]) / 1e6  # type: ignore[index]
            spent[arm] += 0.25 if index == 0 else tokens
            counts[arm] += 1
            failed = arm if index == 0 else failed
        samples = await until_folded(client, 20)
    for arm in ("small", "large"):
        labels = {"policy": "default", "arm": arm}
        explored = [of(samples, "banditd_arm_selections_total", explored=e, **labels) or 0 for e in ("true", "false")]
        assert sum(explored) == counts[arm]
        assert of(samples, "banditd_spend_usd_total", **labels) == pytest.approx(spent[arm])
        reported = counts[arm] - (arm == failed)
        assert of(samples, "banditd_tokens_total", direction="input", **labels) == 100 * reported
        assert of(samples, "banditd_upstream_seconds_sum", **labels) == pytest.approx(1.5 * reported)
    assert of(samples, "banditd_upstream_errors_total", policy="default", arm=failed) == 1
    assert of(samples, "banditd_rewards_total", outcome="recorded") == 20
    assert of(samples, "banditd_usage_reports_total", outcome="duplicate") == 20
    assert of(samples, "banditd_route_overhead_seconds_count") == 20
    assert of(samples, "banditd_ready") == 1
    assert (of(samples, "process_resident_memory_bytes") or 0) > 1e7


async def until_folded(client: Any, rewards: int) -> Any:
    async with asyncio.timeout(120):
        while True:
            samples = await scrape(client)
            if of(samples, "banditd_folds_total", policy="default") == rewards:
                return samples
            await asyncio.sleep(0.02)


async def test_the_observing_job_publishes_the_arms_and_forgets_those_that_are_gone(sqlite_url: str) -> None:
    settings = Settings(database={"url": sqlite_url}, policies={"default": {"arms": ARMS}})
    daemons: list[Any] = []

    class Opened:
        async def __aenter__(self) -> Any:
            self.inner = open_services(settings, start_jobs=False)
            daemons.append(await self.inner.__aenter__())
            return daemons[0]

        async def __aexit__(self, *error: object) -> None:
            await self.inner.__aexit__(*error)  # type: ignore[arg-type]

    async with TestClient(TestServer(create_app(Opened, WebSettings(access_log=False)))) as client:
        await client.patch("/v1/arms/large", json={"enabled": False})
        decision = await (await client.post("/v1/route", json={"input": "one"})).json()
        await client.post("/v1/rewards", json={"decision_id": decision["decision_id"], "value": 0.5})
        await until_folded(client, 1)
        await daemons[0].jobs.run_now("observe")
        samples = await scrape(client)
        labels = {"policy": "default"}
        assert of(samples, "banditd_arm_enabled", arm="small", **labels) == 1
        assert of(samples, "banditd_arm_enabled", arm="large", **labels) == 0
        assert of(samples, "banditd_arm_mean_reward", arm="small", **labels) == 0.5
        assert of(samples, "banditd_arm_mean_reward", arm="large", **labels) is None
        assert of(samples, "banditd_job_runs_total", task="observe", outcome="done") == 1
        await client.delete("/v1/arms/large")
        await daemons[0].jobs.run_now("observe")
        assert of(await scrape(client), "banditd_arm_enabled", arm="large", **labels) is None


async def test_a_database_that_hangs_or_fails_leaves_a_scrape_that_says_so(
    client: Any, daemon: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("banditd.web.handlers.operations.READINESS_TIMEOUT_S", 0.01)
    daemon.metrics.up.set(1)

    async def hangs() -> Any:
        await asyncio.sleep(60)

    daemon.health.readiness = hangs
    assert of(await scrape(client), "banditd_ready") == 0

    async def fails() -> Any:
        raise StorageUnavailableError("gone")

    daemon.metrics.up.set(1)
    daemon.health.readiness = fails
    assert of(await scrape(client), "banditd_ready") == 0
