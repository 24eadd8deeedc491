"""Traces of a real daemon, read from the SDK's in-memory exporter."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from banditd.daemon.open import open_services
from banditd.obs.tracing import Tracing
from banditd.settings import Settings
from banditd.web.app import WebSettings, create_app
from banditd.web.tracing import traced

pytest.importorskip("opentelemetry.sdk", reason="the extra 'otel' is not installed")
TRACE = "0af7651916cd43dd8448eb211c80319c"
ARMS = [{"arm": "small"}, {"arm": "large"}]


class Spans:
    """What was exported."""

    def __init__(self) -> None:
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

        self.exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracing = Tracing(provider)

    def taken(self) -> dict[str, Any]:
        """Name to span of everything since the last call."""
        found = {span.name: span for span in self.exporter.get_finished_spans()}
        self.exporter.clear()
        return found


@pytest.fixture
def spans() -> Spans:
    return Spans()


@pytest.fixture
async def live(sqlite_url: str, spans: Spans) -> AsyncIterator[Any]:
    settings = Settings(database={"url": sqlite_url}, policies={"default": {"arms": ARMS}})
    app = create_app(
        lambda: open_services(settings, start_jobs=False, tracing=spans.tracing),
        WebSettings(access_log=False),
        outside=[traced(spans.tracing)],
    )
    async with TestClient(TestServer(app)) as client:
        spans.taken()
        yield client


async def test_a_query_and_its_reward_leave_spans_with_the_decision_id(live: Any, spans: Spans) -> None:
    parent = f"00-{TRACE}-b7ad6b7169203331-01"
    answer = await live.post("/v1/route", json={"input": "Tune my xylophone."}, headers={"traceparent": parent})
    decision = await answer.json()
    seen = spans.taken()
    assert set(seen) == {"POST /v1/route", "banditd.route", "banditd.encode", "banditd.decide", "banditd.commit"}
    assert {f"{span.context.trace_id:032x}" for span in seen.values()} == {TRACE}
    assert not any("xylophone" in span.to_json() for span in seen.values())
    route = seen["banditd.route"]
    assert route.attributes["banditd.decision_id"] == decision["decision_id"]
    assert route.attributes["banditd.arm"] == decision["arm"]
    assert route.attributes["banditd.propensity"] == decision["propensity"]
    parts = [seen[f"banditd.{name}"] for name in ("encode", "decide", "commit")]
    assert {part.parent.span_id for part in parts} == {route.context.span_id}
    times = [route.start_time, *(t for part in parts for t in (part.start_time, part.end_time)), route.end_time]
    assert times == sorted(times)
    reward = {"decision_id": decision["decision_id"], "value": 1.0}
    assert (await live.post("/v1/rewards", json=reward)).status == 200
    seen = spans.taken()
    assert seen["banditd.reward"].attributes["banditd.decision_id"] == decision["decision_id"]
    assert seen["POST /v1/rewards"].attributes["http.response.status_code"] == 200


async def test_a_dry_run_has_no_commit_and_no_id(live: Any, spans: Spans) -> None:
    await live.post("/v1/route", json={"input": "x", "dry_run": True})
    seen = spans.taken()
    assert "banditd.commit" not in seen
    assert "banditd.decide" in seen
    assert "banditd.decision_id" not in seen["banditd.route"].attributes


async def test_a_refusal_marks_its_span_with_the_code(live: Any, spans: Spans) -> None:
    assert (await live.post("/v1/route", json={"input": "x", "policy": "nobody"})).status == 404
    route = spans.taken()["banditd.route"]
    assert route.attributes["error.type"] == "POLICY_UNKNOWN"
    assert not route.status.is_ok
    assert not route.events  # no exception text travels


async def test_batches_usage_and_own_embeddings(live: Any, spans: Spans) -> None:
    queries = [{"input": "a"}, {"input": "b", "policy": "nobody"}, {"input": "c", "dry_run": True}]
    results = (await (await live.post("/v1/route/batch", json={"queries": queries})).json())["results"]
    batch = spans.taken()["banditd.route_batch"]
    assert list(batch.attributes["banditd.decision_ids"]) == [results[0]["decision"]["decision_id"]]
    assert batch.attributes["banditd.failures"] == 1
    decision = await (await live.post("/v1/route", json={"embedding": [1.0] * 112})).json()
    seen = spans.taken()
    assert "banditd.encode" not in seen
    assert "banditd.decide" in seen
    await live.post(f"/v1/decisions/{decision['decision_id']}/usage", json={"output_tokens": 3})
    assert spans.taken()["banditd.usage"].attributes["banditd.decision_id"] == decision["decision_id"]


async def test_health_and_metrics_leave_no_spans(live: Any, spans: Spans) -> None:
    for path in ("/health/liveness", "/metrics", "/nowhere"):
        await live.get(path)
    assert "GET /metrics" not in spans.taken()
