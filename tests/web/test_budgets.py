"""Budgets, profiles and prices over HTTP, against the whole daemon."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.over_http import client_of, key_of
from tests.patience import PATIENT

from banditd.settings import Settings

ARMS = [
    {"arm": "small", "price": {"usd_per_mtok_in": 0.1, "usd_per_mtok_out": 0.4}},
    {"arm": "large", "price": {"usd_per_mtok_in": 3.0, "usd_per_mtok_out": 15.0}},
]
BUDGETS = [
    {"name": "mean", "usd": 0.01},
    {"name": "each-key", "usd": 0.002, "per": "day", "of": "key", "at_stop": "reject"},
]


@pytest.fixture
async def live(database_url: str) -> AsyncIterator[Any]:
    settings = Settings(
        database={"url": database_url, **PATIENT},
        policies={"default": {"arms": ARMS, "budgets": BUDGETS}, "plain": {"arms": ARMS}},
    )
    async with client_of(settings, api_keys=tuple(key_of(name, "admin") for name in ("alice", "bob"))) as client:
        yield client


async def route(live: Any, name: str, **query: Any) -> tuple[int, dict[str, Any], Any]:
    headers = {"x-api-key": name}
    answer = await live.post("/v1/route", json={"input": "hello", **query}, headers=headers)
    return answer.status, await answer.json(), answer.headers


async def test_a_key_that_has_spent_its_money_gets_429_and_others_go_on(live: Any) -> None:
    for _ in range(100):
        status, body, headers = await route(live, "alice")
        if status != 200:
            break
    # What is left pays for no answer, but not all of it is charged.
    assert (status, body["code"], body["type"]) == (429, "BUDGET_SHORT", "/problems/budget-exhausted")
    assert "each-key of alice" in body["detail"]
    assert 1 <= int(headers["Retry-After"]) <= 86_400
    assert (await route(live, "bob"))[0] == 200
    assert (await route(live, "alice", policy="plain"))[0] == 200
    metrics = await (await live.get("/metrics", headers={"x-api-key": "bob"})).text()
    assert 'banditd_budget_stops_total{action="reject",budget="each-key",policy="default"} ' in metrics
    assert "banditd_rate_limited_total 0.0" in metrics


async def test_the_accounts_are_shown(live: Any) -> None:
    await route(live, "alice")
    answer = await live.get("/v1/budgets", headers={"x-api-key": "bob"})
    mean, each = (await answer.json())["budgets"]
    assert (mean["name"], mean["account"], mean["decisions"], mean["remaining_usd"]) == ("mean", "all", 1, None)
    assert (each["account"], each["limit_usd"], each["at_stop"], each["stopped"]) == ("alice", 0.002, "reject", False)
    assert each["remaining_usd"] == pytest.approx(0.002 - each["charged_usd"])
    assert (await answer.json())["guard"] == {"alarm": False, "share": 1.0, "advantage": None, "standard_error": None}
    assert each["window_ends_at"].endswith("T00:00:00.000000Z")
    assert (await live.get("/v1/budgets?policy=nobody", headers={"x-api-key": "bob"})).status == 404


async def test_contradictions_are_answered_with_what_to_mend(live: Any) -> None:
    head = {"x-api-key": "bob"}
    for body, pointer in (
        ({"price": {"usd_per_mtok_in": -1.0}}, "/price/usd_per_mtok_in"),
        ({"min_share": 0.6, "max_share": 0.5}, "/min_share"),
        ({"price": {"usd_per_mtok_in": 1.0, "valid_from": "2020-01-01T00:00:00Z"}}, "/price/valid_from"),
        ({"price": {"usd_per_mtok_in": 1.0, "valid_from": "2027-02-30T00:00:00Z"}}, "/price/valid_from"),
    ):
        answer = await live.patch("/v1/arms/small", json=body, headers=head)
        problem = await answer.json()
        assert (answer.status, problem["errors"][0]["pointer"]) == (422, pointer), problem
    status, problem, _ = await route(live, "bob", profile="thrifty")
    assert (status, problem["code"]) == (422, "PROFILE_UNKNOWN")
    status, problem, _ = await route(live, "bob", quality_floor=0.5, quality_confidence=1.0)
    assert (status, problem["errors"][0]["pointer"]) == (422, "/quality_confidence")
    new = {"arm": "new", "price": {"usd_per_mtok_in": 1.0, "valid_from": "2030-01-01T00:00:00Z"}}
    assert (await live.post("/v1/arms", json=new, headers=head)).status == 422


async def test_a_scheduled_price_is_in_the_history_at_once(live: Any) -> None:
    head = {"x-api-key": "bob"}
    body = {"price": {"usd_per_mtok_in": 9.0, "valid_from": "2090-01-01T00:00:00Z"}}
    shown = await (await live.patch("/v1/arms/small", json=body, headers=head)).json()
    assert shown["price"]["usd_per_mtok_in"] == 0.1
    assert [entry["usd_per_mtok_in"] for entry in shown["price_history"]] == [0.1, 9.0]
    assert shown["price_history"][1]["usd_per_mtok_out"] == 0.4  # what is left out stays


async def test_cached_input_costs_what_its_price_says(live: Any) -> None:
    head = {"x-api-key": "bob"}
    await live.patch("/v1/arms/large", json={"price": {"usd_per_mtok_cached_in": 1.0}}, headers=head)
    _, made, _ = await route(live, "bob", candidates=["large"], policy="plain")
    path = f"/v1/decisions/{made['decision_id']}/usage"
    wrong = {"input_tokens": 10, "cached_input_tokens": 11}
    assert (await live.post(path, json=wrong, headers=head)).status == 422
    report = {"input_tokens": 1000, "cached_input_tokens": 400, "output_tokens": 100}
    settled = await (await live.post(path, json=report, headers=head)).json()
    assert settled["cost_usd"] == pytest.approx((600 * 3.0 + 400 * 3.0 + 100 * 15.0) / 1e6)  # plain has its own arms
    await live.patch("/v1/arms/large?policy=plain", json={"price": {"usd_per_mtok_cached_in": 1.0}}, headers=head)
    _, made, _ = await route(live, "bob", candidates=["large"], policy="plain")
    settled = await (await live.post(f"/v1/decisions/{made['decision_id']}/usage", json=report, headers=head)).json()
    assert settled["cost_usd"] == pytest.approx((600 * 3.0 + 400 * 1.0 + 100 * 15.0) / 1e6)
