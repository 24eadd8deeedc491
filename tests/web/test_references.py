"""Rewards, usage and look-ups by what a client calls a decision: over HTTP, on both databases, at two replicas."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import pytest
from tests.over_http import Replicas, key_of, replicas
from tests.patience import PATIENT

from banditd.core.references import decision_id_in
from banditd.settings import Settings

ARMS = [{"arm": "small"}, {"arm": "large"}]
KEYS = [key_of(name, "route", "reward", "read") for name in ("anna", "bert")]


class Site(Replicas):
    """Two replicas on one database; ``send`` goes to either, as either of two API keys."""

    async def send(
        self, method: str, path: str, body: Any = None, *, key: str | None = None, at: int = 0, who: str = "anna"
    ) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {who}"} | ({"Idempotency-Key": key} if key is not None else {})
        answer = await self.clients[at].request(method, path, json=body, headers=headers)
        return answer.status, await answer.json()

    async def route(self, reference: str | None = None, **more: Any) -> str:
        who = more.pop("who", "anna")
        status, made = await self.send(
            "POST", "/v1/route", {"input": "hello", "reference": reference, **more}, who=who
        )
        assert status == 200
        return str(made["decision_id"])

    async def reward(self, reference: str, value: float = 1.0, **more: Any) -> tuple[int, Any]:
        return await self.send("POST", "/v1/rewards", {"reference": reference, "value": value}, **more)

    async def rewards_of(self, decision_id: str) -> list[float]:
        _, whole = await self.send("GET", f"/v1/decisions/{decision_id}")
        return [event["value"] for event in whole["rewards"]]


@pytest.fixture
async def site(database_url: str) -> AsyncIterator[Site]:
    settings = Settings(
        database={"url": database_url, **PATIENT},  # type: ignore[arg-type]
        learner={"pause_ms": 0, "poll_s": 0.25, "lease_s": 2},  # type: ignore[arg-type]
        policies={"default": {"arms": ARMS}, "other": {"arms": ARMS}},  # type: ignore[dict-item]
    )
    async with replicas(settings, KEYS) as (clients, daemons):
        yield Site(clients, daemons)


async def test_a_reference_means_the_newest_decision_of_its_api_key(site: Site) -> None:
    old = await site.route("chat 1/größe")
    new = await site.route("chat 1/größe")
    theirs = await site.route("chat 1/größe", who="bert")
    await site.route("another")
    status, receipt = await site.reward("chat 1/größe", 0.25, at=1)
    assert (status, receipt["decision_id"]) == (200, new)
    assert (await site.reward("chat 1/größe", 0.5, who="bert"))[1]["decision_id"] == theirs
    assert await site.rewards_of(old) == []
    assert await site.rewards_of(new) == [0.25]
    _, listed = await site.send("GET", f"/v1/decisions?reference={quote('chat 1/größe')}")
    assert [one["decision_id"] for one in listed["decisions"]] == [theirs, new, old]


async def test_a_reference_of_another_key_or_of_nobody_is_not_found(site: Site) -> None:
    mine = await site.route("mine")
    for reference, who in (("mine", "bert"), ("nobody's", "anna"), (f"{mine}", "anna")):
        status, problem = await site.reward(reference, who=who)
        assert (status, problem["code"]) == (404, "DECISION_NOT_FOUND")
        assert problem["errors"][0]["pointer"] == "/reference"
    assert await site.rewards_of(mine) == []


async def test_the_upstreams_own_id_is_a_reference_once_its_usage_is_reported(site: Site) -> None:
    mine, theirs = await site.route(), await site.route(who="bert")
    assert (await site.reward("chatcmpl-upstream-1"))[0] == 404
    for decision_id, who in ((mine, "anna"), (theirs, "bert")):
        report = {"input_tokens": 3, "output_tokens": 4, "response_id": "chatcmpl-upstream-1"}
        await site.send("POST", f"/v1/decisions/{decision_id}/usage", report, who=who)
    assert (await site.reward("chatcmpl-upstream-1", 0.75, at=1))[1]["decision_id"] == mine
    later = {"response_id": "chatcmpl-upstream-2"}
    _, settled = await site.send("POST", f"/v1/decisions/{mine}/usage", later)
    assert (settled["duplicate"], settled["revision"]) == (False, 1)
    _, whole = await site.send("GET", f"/v1/decisions/{mine}")
    assert (whole["usage"]["response_id"], whole["usage"]["output_tokens"]) == ("chatcmpl-upstream-2", 4)
    assert (await site.reward("chatcmpl-upstream-2", 0.5))[1]["decision_id"] == mine
    alike = "chatcmpl-11111111-2222-4333-8444-555555555555"  # as some servers make them
    await site.send("POST", f"/v1/decisions/{theirs}/usage", {"response_id": alike}, who="bert")
    assert (await site.reward(alike, 0.5, who="bert"))[1]["decision_id"] == theirs


async def test_an_answers_id_that_is_made_of_the_decisions_is_taken_for_it(site: Site) -> None:
    made = await site.route()
    for said in ({"decision_id": f"chatcmpl-{made}"}, {"reference": f"msg_{made}"}, {"decision_id": made}):
        status, receipt = await site.send("POST", "/v1/rewards", {**said, "value": 0.5})
        assert (status, receipt["decision_id"]) == (200, made)
    assert await site.rewards_of(made) == [0.5]  # one source's one word, whatever it called the decision
    status, whole = await site.send("GET", f"/v1/decisions/chatcmpl-{made}")
    assert (status, whole["decision_id"]) == (200, made)
    assert decision_id_in("chatcmpl-nothing") is None


async def test_a_retry_is_for_the_decision_of_its_first_try(site: Site) -> None:
    first = await site.route("turn")
    _, receipt = await site.reward("turn", 0.5, key="k")
    second = await site.route("turn")
    elsewhere = await site.route("turn", policy="other")
    for at in (0, 1):
        status, again = await site.reward("turn", 0.5, key="k", at=at)
        assert (status, again) == (200, {**receipt, "duplicate": True})
    assert [await site.rewards_of(one) for one in (first, second, elsewhere)] == [[0.5], [], []]
    assert (await site.reward("turn", 0.5, key="new"))[1]["decision_id"] == elsewhere


async def test_replicas_that_race_count_one_reward(site: Site) -> None:
    made = await site.route("race")
    for more in ({}, {"key": "k"}):
        answers = await asyncio.gather(*(site.reward("race", 0.5, at=n % 2, **more) for n in range(12)))
        assert {status for status, _ in answers} == {200}
        assert sum(not receipt["duplicate"] for _, receipt in answers) == 1
    assert await site.rewards_of(made) == [0.5, 0.5]


async def test_a_list_mixes_ids_and_references_and_one_that_fails_hurts_no_other(site: Site) -> None:
    named, plain = await site.route("named"), await site.route()
    body = [
        {"reference": "named", "thumb": "up"},
        {"reference": "nobody's", "thumb": "up"},
        {"decision_id": plain, "thumb": "down"},
    ]
    status, answer = await site.send("POST", "/v1/rewards", body)
    assert (status, [one["status_code"] for one in answer["results"]]) == (207, [200, 404, 200])
    assert [answer["results"][n]["receipt"]["decision_id"] for n in (0, 2)] == [named, plain]


async def test_it_is_one_of_id_and_reference(site: Site) -> None:
    made = await site.route("both")
    for said in ({"decision_id": made, "reference": "both"}, {}, {"reference": ""}, {"reference": "x" * 257}):
        status, _ = await site.send("POST", "/v1/rewards", {**said, "value": 1.0})
        assert status == 422
    assert await site.rewards_of(made) == []


async def test_a_reference_in_a_path_reaches_usage_activation_and_the_look_up(site: Site) -> None:
    made = await site.route("ticket/7 #x", defer_activation=True)
    path = f"/v1/decisions/reference:{quote('ticket/7 #x', safe='')}"
    assert (await site.send("GET", path))[1]["decision_id"] == made
    assert (await site.send("POST", f"{path}/activate"))[1] == {
        "decision_id": made, "activated": True, "duplicate": False,
    }  # fmt: skip
    assert (await site.send("POST", f"{path}/usage", {"cost_usd": 0.25}))[1]["decision_id"] == made
    assert (await site.send("GET", path, who="bert"))[0] == 404
    assert (await site.send("GET", "/v1/decisions/reference:"))[0] == 404


async def test_a_retraction_by_reference_takes_back_what_the_source_said(site: Site) -> None:
    await site.route("regret")
    _, receipt = await site.reward("regret", 1.0)
    status, taken = await site.send("POST", "/v1/rewards", {"reference": "regret", "retract": True})
    assert (status, taken["decision_id"], taken["reward"]) == (200, receipt["decision_id"], None)


async def test_a_repeated_route_has_the_reference_of_the_first(site: Site) -> None:
    body = {"input": "hello", "reference": "again"}
    _, first = await site.send("POST", "/v1/route", body, key="r")
    _, second = await site.send("POST", "/v1/route", body, key="r", at=1)
    assert second["decision_id"] == first["decision_id"]
    assert (await site.reward("again"))[1]["decision_id"] == first["decision_id"]


async def test_what_retention_deletes_has_no_reference(site: Site) -> None:
    made = await site.route("old")
    await site.send("POST", f"/v1/decisions/{made}/usage", {"cost_usd": 0.1, "response_id": "resp-old"})
    kept = await site.route("young")
    maintenance = site.daemons[0].storage.maintenance
    _, whole = await site.send("GET", f"/v1/decisions/{kept}")
    assert await maintenance.prune(before_us=2**53, limit=1) == 1
    for reference in ("old", "resp-old"):
        assert (await site.reward(reference))[0] == 404
    assert (await site.reward("young"))[1]["decision_id"] == whole["decision_id"]
