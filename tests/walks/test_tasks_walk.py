"""Agents that work in steps: tasks, steps and the step before, from a request to the log and the reports."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from tests.over_http import ask
from tests.walks.conftest import OpenDaemon, leads, make_settings
from tests.walks.test_follow_ups import TRACE
from tests.walks.test_reward_walk import reward, route

from banditd.core.origins import STEP
from banditd.daemon.open import open_services
from banditd.features.tags import PLACES
from banditd.ports import DecisionFilter
from banditd.web.app import WebSettings, create_app
from banditd.web.handlers.routing import to_query
from banditd.web.schemas.routing import RouteRequest


async def serve(url: str, **server: Any) -> TestClient[web.Request, web.Application]:
    def opened() -> Any:
        return open_services(make_settings(url), start_jobs=False)

    return TestClient(TestServer(create_app(opened, WebSettings(access_log=False, **server))))


@pytest.fixture
async def client(sqlite_url: str) -> Any:
    async with await serve(sqlite_url) as found:
        yield found


async def told(client: Any, decision_id: str) -> tuple[Any, ...]:
    _, whole = await ask(client, "GET", f"/v1/decisions/{decision_id}")
    return whole["task_id"], whole["parent_decision_id"], whole["tags"]


async def test_a_query_says_its_task_its_step_and_the_step_before(client: Any) -> None:
    _, plan = await ask(client, "POST", "/v1/route", {"input": "Plan it.", "task_id": "run 7", "step": "plan"})
    before = f"chatcmpl-{plan['decision_id']}"
    query = {"input": "Do it.", "task_id": "run 7", "parent_decision_id": before, "step": "act"}
    _, batch = await ask(
        client, "POST", "/v1/route/batch",
        {"queries": [query, {"input": "?", "tags": {"step": "act", "team": "x"}, "step": "act"}, {"input": "?"}]},
    )  # fmt: skip
    act, other, alone = [one["decision"]["decision_id"] for one in batch["results"]]
    assert await told(client, plan["decision_id"]) == ("run 7", None, {"step": "plan"})
    assert await told(client, act) == ("run 7", plan["decision_id"], {"step": "act"})
    assert await told(client, other) == (None, None, {"step": "act", "team": "x"})
    assert await told(client, alone) == (None, None, {})
    _, page = await ask(client, "GET", "/v1/decisions?task_id=run%207")
    assert [(one["decision_id"], one["parent_decision_id"]) for one in page["decisions"]] == [
        (act, plan["decision_id"]), (plan["decision_id"], None),
    ]  # fmt: skip
    _, page = await ask(client, "GET", "/v1/decisions?task_id=run%207&tag=step:plan")
    assert [one["decision_id"] for one in page["decisions"]] == [plan["decision_id"]]


async def test_what_is_not_set_is_no_task_and_what_cannot_be_one_is_refused(client: Any) -> None:
    _, made = await ask(client, "POST", "/v1/route", {"input": "?", "task_id": "", "step": "", "tags": {"step": ""}})
    assert await told(client, made["decision_id"]) == (None, None, {})
    for bad, where in (
        ({"task_id": "x" * 257}, "/task_id"), ({"task_id": 7}, "/task_id"), ({"step": "x" * 257}, "/step"),
        ({"parent_decision_id": "the one before"}, "/parent_decision_id"),
        ({"step": "plan", "tags": {"step": "act"}}, "/step"),
    ):  # fmt: skip
        status, problem = await ask(client, "POST", "/v1/route", {"input": "?", **bad})
        assert (status, problem["errors"][0]["pointer"]) == (422, where), bad
    queries = [{"input": "?"}, {"input": "?", "step": "plan", "tags": {"step": "act"}}]
    status, problem = await ask(client, "POST", "/v1/route/batch", {"queries": queries})
    assert (status, problem["errors"][0]["pointer"]) == (422, "/queries/1/step")
    assert "give one of the two" in problem["detail"]


@pytest.mark.parametrize("trace_as_task", [False, True])
async def test_a_trace_is_a_task_where_the_operator_says_so(sqlite_url: str, trace_as_task: bool) -> None:
    async with await serve(sqlite_url, trace_as_task=trace_as_task) as client:
        trace = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
        for query, headers, expected in (
            ({}, trace, TRACE if trace_as_task else None),
            ({"task_id": "mine"}, trace, "mine"),
            ({}, {}, None),
            ({}, {"traceparent": "00-nonsense-01"}, None),
        ):
            _, made = await ask(client, "POST", "/v1/route", {"input": "?", **query}, **headers)
            assert (await told(client, made["decision_id"]))[0] == expected


async def test_a_step_is_a_context_that_the_learner_may_use(open_daemon: OpenDaemon) -> None:
    async with open_daemon(context_tags=[STEP]) as daemon:
        builder = daemon.runtimes["default"].builder
        start = builder.schema.groups[-1].start
        assert builder.schema.groups[-1].name == "tag:step"

        async def column(step: str | None) -> list[int]:
            query = to_query(RouteRequest(input="?", step=step), 1000)
            made = await daemon.services.routing.route(query)
            return np.flatnonzero(made.context.x[start:]).tolist()  # type: ignore[no-any-return]

        assert [await column(step) for step in ("plan", "act", None)] == [[PLACES], [PLACES], []]
        await daemon.jobs.run_now("context_values")
        assert sorted([await column("plan"), await column("act")]) == [[0], [1]]
        assert await column("new") == [PLACES]


async def test_arms_are_compared_by_step(open_daemon: OpenDaemon) -> None:
    async with open_daemon() as daemon:
        await leads(daemon)
        made = []
        for step, value in (("plan", 1.0), ("plan", 0.5), ("act", 0.25)):
            made.append(await daemon.services.routing.route(to_query(RouteRequest(input="?", step=step), 1000)))
            await reward(daemon, made[-1].decision_id, value)
        await route(daemon)
        await daemon.learner.drained()
        stats: Any = await daemon.services.tags.stats("default", None, by=STEP)
        found = {one["value"]: (one["decisions"], one["mean_reward"]) for one in stats["groups"]}
        assert found == {"plan": (2, pytest.approx(0.75)), "act": (1, pytest.approx(0.25))}
        assert stats["without_tag"] == 1
        [plan] = [one for one in stats["groups"] if one["value"] == "plan"]
        chosen = {arm: sum(one.arm == arm for one in made[:2]) for arm in {one.arm for one in made[:2]}}
        assert {cell["arm"]: cell["decisions"] for cell in plan["arms"] if cell["decisions"]} == chosen
        page: Any = await daemon.services.reports.decisions(DecisionFilter(tag=(STEP, "act")))
        assert [one["decision_id"] for one in page["decisions"]] == [made[2].decision_id]
