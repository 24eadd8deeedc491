"""Requests that are sent again under their Idempotency-Key, over HTTP, on both databases, at one or two replicas."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.over_http import Replicas, key_of, replicas
from tests.patience import PATIENT

from banditd.settings import Settings

ARMS = [
    {"arm": "small", "price": {"usd_per_mtok_in": 0.1, "usd_per_mtok_out": 0.4}},
    {"arm": "large", "price": {"usd_per_mtok_in": 3.0, "usd_per_mtok_out": 15.0}},
]
KEYS = [key_of(name, "route", "reward", "read", "admin") for name in ("anna", "bert")]


class Site(Replicas):
    """Two replicas on one database; ``post`` sends to either, as either of two API keys."""

    async def send(
        self, method: str, path: str, body: Any = None, key: str | None = "k", *, at: int = 0, who: str = "anna"
    ) -> Any:
        headers = {"Authorization": f"Bearer {who}"} | ({"Idempotency-Key": key} if key is not None else {})
        answer = await self.clients[at].request(method, path, json=body, headers=headers)
        await answer.read()
        return answer

    async def post(self, path: str, body: Any = None, key: str | None = "k", **more: Any) -> Any:
        return await self.send("POST", path, body, key, **more)

    async def count(self, policy: str = "default") -> tuple[int, float]:
        """(decisions, predicted spend on the budget's account)."""
        stats = await (await self.send("GET", f"/v1/stats?policy={policy}", key=None)).json()
        [row] = (await (await self.send("GET", f"/v1/budgets?policy={policy}", key=None)).json())["budgets"]
        return stats["decisions"], row["charged_usd"]


@pytest.fixture
async def site(database_url: str) -> AsyncIterator[Site]:
    budget = {"budgets": [{"name": "cap", "usd": 5.0, "per": "month", "at_stop": "reject"}]}
    settings = Settings(
        database={"url": database_url, **PATIENT},
        learner={"pause_ms": 0, "poll_s": 0.25, "lease_s": 2},
        policies={"default": {"arms": ARMS, **budget}, "other": {"arms": ARMS, **budget}},
    )
    async with replicas(settings, KEYS) as (clients, daemons):
        yield Site(clients, daemons)


QUERY = {"input": "What is 17 times 23?", "explain": True}


def said(answer: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in answer.items() if name != "duplicate"}


async def test_a_route_sent_again_is_the_same_decision_and_is_charged_once(site: Site) -> None:
    first = await site.post("/v1/route", QUERY)
    again = [await site.post("/v1/route", QUERY, at=at) for at in (0, 1)]
    made = await first.json()
    assert made["duplicate"] is False
    assert "x-banditd-duplicate" not in first.headers
    for answer in again:
        repeated = await answer.json()
        assert repeated["duplicate"] is True
        assert said(repeated) == said(made)
        assert answer.headers["x-banditd-duplicate"] == "true"
        assert answer.headers["x-banditd-decision-id"] == made["decision_id"]
        assert answer.headers["x-banditd-propensity"] == first.headers["x-banditd-propensity"]
    decisions, charged_usd = await site.count()
    assert decisions == 1
    assert charged_usd == pytest.approx(made["predicted_cost_usd"])


async def test_the_same_body_written_differently_is_the_same_request(site: Site) -> None:
    bodies = ('{"input": "x", "tags": {"a": "1", "b": "2"}}', '{"tags":{"b":"2","a":"1"},  "input":"x"}')
    headers = {"Authorization": "Bearer anna", "Idempotency-Key": "k", "Content-Type": "application/json"}
    ids = set()
    for body in bodies:
        answer = await site.clients[0].post("/v1/route", data=body, headers=headers)
        ids.add((await answer.json())["decision_id"])
    assert len(ids) == 1


async def test_another_body_under_a_key_is_a_conflict_and_decides_nothing(site: Site) -> None:
    await site.post("/v1/route", QUERY)
    for other in ({"input": "another"}, {**QUERY, "explain": False}, {**QUERY, "cost_weight": 1.0}):
        answer = await site.post("/v1/route", other)
        problem = await answer.json()
        assert answer.status == 409
        assert problem["code"] == "IDEMPOTENCY_KEY_REUSED"
        assert "new key" in problem["detail"]
    assert (await site.count())[0] == 1


async def test_keys_are_those_of_an_api_key_a_policy_and_an_operation(site: Site) -> None:
    ids = [(await (await site.post("/v1/route", QUERY, who=who)).json())["decision_id"] for who in ("anna", "bert")]
    elsewhere = await (await site.post("/v1/route", {**QUERY, "policy": "other"})).json()
    batch = await (await site.post("/v1/route/batch", {"queries": [QUERY]})).json()
    assert len({*ids, elsewhere["decision_id"], batch["results"][0]["decision"]["decision_id"]}) == 4
    for decision_id in ids:
        usage = await site.post(f"/v1/decisions/{decision_id}/usage", {"cost_usd": 0.5}, key=f"u-{decision_id}")
        assert usage.status == 200


async def test_replicas_that_race_on_one_key_decide_once(site: Site) -> None:
    for round_ in range(5):
        answers = await asyncio.gather(
            *(site.post("/v1/route", QUERY, key=f"race-{round_}", at=n % 2) for n in range(12))
        )
        made = [await answer.json() for answer in answers]
        assert {answer.status for answer in answers} == {200}
        assert len({one["decision_id"] for one in made}) == 1
        assert sum(not one["duplicate"] for one in made) == 1
        assert len({repr(said(one)) for one in made}) == 1
    assert (await site.count())[0] == 5


async def test_of_two_bodies_that_race_on_one_key_one_decides(site: Site) -> None:
    answers = await asyncio.gather(
        *(site.post("/v1/route", {"input": f"query {n % 2}"}, at=n // 2 % 2) for n in range(8))
    )
    statuses = sorted(answer.status for answer in answers)
    assert statuses == [200] * 4 + [409] * 4
    assert (await site.count())[0] == 1


async def test_a_batch_has_one_key_and_what_failed_of_it_is_tried_again(site: Site) -> None:
    batch = {"queries": [{"input": "one"}, {"input": "two", "candidates": ["late"]}, {"input": "three"}]}
    first = await site.post("/v1/route/batch", batch)
    assert first.status == 207
    items = (await first.json())["results"]
    assert [item["status_code"] for item in items] == [200, 422, 200]
    await site.post("/v1/arms", {"arm": "late", "price": {"usd_per_mtok_in": 1, "usd_per_mtok_out": 1}}, key=None)
    again = (await (await site.post("/v1/route/batch", batch, at=0)).json())["results"]
    assert [item["status_code"] for item in again] == [200, 200, 200]
    assert [item["decision"]["duplicate"] for item in again] == [True, False, True]
    assert [again[n]["decision"]["decision_id"] for n in (0, 2)] == [
        items[n]["decision"]["decision_id"] for n in (0, 2)
    ]
    third = (await (await site.post("/v1/route/batch", batch, at=1)).json())["results"]
    assert [item["decision"]["duplicate"] for item in third] == [True, True, True]
    one, two, three = batch["queries"]
    for queries in (
        [one],
        [three, two, one],
        [one, two, three, {"input": "four"}],
        [one, {"input": "4", "policy": "other"}],
    ):
        other = await site.post("/v1/route/batch", {"queries": queries}, at=1)
        assert (other.status, (await other.json())["code"]) == (409, "IDEMPOTENCY_KEY_REUSED")
    assert (await site.count())[0] == 3
    assert (await site.count("other"))[0] == 0


async def test_a_refusal_keeps_no_key(site: Site) -> None:
    """Whatever refused the first try (a budget, no arm, bad input), the same key and body may succeed later."""
    dear = {"input": "dear", "expected_output_tokens": 400_000, "candidates": ["large"]}
    refused = await site.post("/v1/route", dear, key="dear")
    assert (refused.status, (await refused.json())["code"]) == (429, "BUDGET_SHORT")
    price = {"price": {"usd_per_mtok_in": 0.1, "usd_per_mtok_out": 0.4}}
    assert (await site.send("PATCH", "/v1/arms/large", price, key=None)).status == 200
    made = await (await site.post("/v1/route", dear, key="dear")).json()
    assert (made["arm"], made["duplicate"]) == ("large", False)


async def test_a_repeat_is_answered_where_nothing_can_be_decided_any_more(site: Site) -> None:
    body = {"input": "dear", "expected_output_tokens": 300_000, "candidates": ["large"]}
    made = await (await site.post("/v1/route", body, key="first")).json()
    assert (await site.post("/v1/route", body, key="second")).status == 429
    assert (await site.send("DELETE", "/v1/arms/large", key=None)).status == 204
    assert said(await (await site.post("/v1/route", body, key="first")).json()) == said(made)


async def test_a_dry_run_keeps_no_key(site: Site) -> None:
    assert (await site.post("/v1/route", {**QUERY, "dry_run": True})).status == 200
    assert (await site.post("/v1/route", QUERY)).status == 200


@pytest.mark.parametrize("key", ["", " ", "a b", "ä", "x" * 256, "tab\tinside"])
async def test_what_is_no_key_is_refused_with_what_one_is(site: Site, key: str) -> None:
    made = await (await site.post("/v1/route", QUERY, key=None)).json()
    usage = f"/v1/decisions/{made['decision_id']}/usage"
    for path, body in (("/v1/route", QUERY), ("/v1/route/batch", {"queries": [QUERY]}), (usage, {"cost_usd": 1.0})):
        answer = await site.post(path, body, key=key)
        assert answer.status == 422, path
        assert "1 to 255 visible ASCII characters" in (await answer.json())["detail"]
    assert (await site.count())[0] == 1


async def test_usage_under_a_key_is_settled_once_and_answered_again(site: Site) -> None:
    made = await (await site.post("/v1/route", QUERY)).json()
    path = f"/v1/decisions/{made['decision_id']}/usage"
    answers = await asyncio.gather(*(site.post(path, {"cost_usd": 0.5}, key="u", at=n % 2) for n in range(6)))
    receipts = [await answer.json() for answer in answers]
    assert sorted(receipt["duplicate"] for receipt in receipts) == [False] + [True] * 5
    assert {receipt["cost_usd"] for receipt in receipts} == {0.5}
    assert (await site.post(path, {"cost_usd": 0.25}, key="u")).status == 409
    assert (await site.count())[1] == pytest.approx(0.5)


async def test_an_activation_under_a_key_is_answered_as_the_first(site: Site) -> None:
    made = await (await site.post("/v1/route", {**QUERY, "defer_activation": True})).json()
    path = f"/v1/decisions/{made['decision_id']}/activate"
    first, again, other = [await (await site.post(path, key=key)).json() for key in ("a", "a", "b")]
    assert (first["activated"], first["duplicate"]) == (True, False)
    assert (again["activated"], again["duplicate"]) == (True, True)
    assert (other["activated"], other["duplicate"]) == (False, False)


async def test_changes_of_arms_under_a_key_happen_once(site: Site) -> None:
    arm = {"arm": "new/one", "price": {"usd_per_mtok_in": 1, "usd_per_mtok_out": 1}, "capabilities": ["vision"]}
    added = [await site.post("/v1/arms", arm, key="a", at=at) for at in (0, 1, 0)]
    assert [answer.status for answer in added] == [201] * 3
    assert [answer.headers.get("x-banditd-duplicate") for answer in added] == [None, "true", "true"]
    bodies = [await answer.json() for answer in added]
    assert {body["created_at"] for body in bodies} == {bodies[0]["created_at"]}
    assert (await site.post("/v1/arms", {**arm, "min_share": 0.1}, key="a")).status == 409
    path = "/v1/arms/new%2Fone"
    for key, share in (("p1", 0.1), ("p2", 0.2)):
        assert (await site.send("PATCH", path, {"min_share": share}, key=key)).status == 200
    late = await site.send("PATCH", "/v1/arms/new/one", {"min_share": 0.1}, key="p1")
    assert ((await late.json())["min_share"], late.headers["x-banditd-duplicate"]) == (0.1, "true")
    now = await (await site.send("GET", path, key=None)).json()
    assert now["min_share"] == 0.2
    assert [(await site.send("DELETE", path, key="d", at=at)).status for at in (0, 1)] == [204, 204]
    assert (await site.send("DELETE", path, key="d2")).status == 404
    assert (await (await site.post("/v1/arms", arm, key="a")).json())["arm"] == "new/one"
    assert (await site.send("GET", path, key=None)).status == 404


async def test_keys_are_forgotten_with_their_time(site: Site) -> None:
    """The retention job's step; a key that is kept still answers."""
    made = [await (await site.post("/v1/route", QUERY, key=key)).json() for key in ("old", "new")]
    storage = site.daemons[0].storage
    [old] = [(await storage.decisions.get(made[0]["decision_id"])) or {}]
    edge_us = int(str(old["created_at_us"])) + 1
    assert await storage.maintenance.forget_keys(before_us=edge_us, limit=10) == 1
    assert await storage.maintenance.forget_keys(before_us=edge_us, limit=10) == 0
    again = [await (await site.post("/v1/route", QUERY, key=key)).json() for key in ("old", "new")]
    assert [one["duplicate"] for one in again] == [False, True]


async def test_the_decision_says_which_api_key_asked(site: Site) -> None:
    made = await (await site.post("/v1/route", QUERY, who="bert")).json()
    whole = await (await site.send("GET", f"/v1/decisions/{made['decision_id']}", key=None)).json()
    assert whole["key_name"] == "bert"
