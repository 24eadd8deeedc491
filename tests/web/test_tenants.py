"""Abandoned decisions, and API keys that touch their own decisions only: over HTTP, on both databases."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.over_http import Replicas, key_of, replicas
from tests.patience import PATIENT

from banditd.settings import Settings

ARMS = [{"arm": "small", "price": {"usd_per_mtok_in": 0.1, "usd_per_mtok_out": 0.4}}]
BUDGETS = [
    {"name": "month", "usd": 5.0, "per": "month"},
    {"name": "team", "usd": 5.0, "per": "day", "of": "tag:team"},
]
SCOPES = {"anna": {"route", "reward:own"}, "bert": {"route", "reward:own"}, "boss": {"admin"}, "all": {"reward"}}


class Site(Replicas):
    async def call(self, who: str, method: str, path: str, body: Any = None, *, at: int = 0, key: str = "") -> Any:
        headers = {"Authorization": f"Bearer {who}"} | ({"Idempotency-Key": key} if key else {})
        answer = await self.clients[at].request(method, path, json=body, headers=headers)
        return answer.status, await answer.json() if answer.status != 204 else None

    async def route(self, who: str = "anna", **more: Any) -> dict[str, Any]:
        status, made = await self.call(who, "POST", "/v1/route", {"input": "x", "tags": {"team": "t"}, **more})
        assert status == 200, made
        return made  # type: ignore[no-any-return]

    async def charged(self) -> list[float]:
        _, answer = await self.call("boss", "GET", "/v1/budgets")
        return [row["charged_usd"] for row in answer["budgets"]]


@pytest.fixture
async def site(database_url: str) -> AsyncIterator[Site]:
    settings = Settings(
        database={"url": database_url, **PATIENT},
        learner={"pause_ms": 0, "poll_s": 0.25, "lease_s": 2},
        policies={"default": {"arms": ARMS, "budgets": BUDGETS, "reward": {"default_reward": 0.0}}},
    )
    async with replicas(settings, [key_of(name, *scopes) for name, scopes in SCOPES.items()]) as (clients, daemons):
        yield Site(clients, daemons)


async def test_an_abandoned_decision_gives_its_estimate_back_once(site: Site) -> None:
    decision_id = (await site.route())["decision_id"]
    assert all(usd > 0 for usd in await site.charged())
    path = f"/v1/decisions/{decision_id}/abandon"
    answers = await asyncio.gather(*(site.call("anna", "POST", path, at=n % 2) for n in range(6)))
    assert {status for status, _ in answers} == {200}
    assert sorted(answer["abandoned"] for _, answer in answers) == [False] * 5 + [True]
    assert await site.charged() == pytest.approx([0.0, 0.0], abs=1e-15)
    _, whole = await site.call("boss", "GET", f"/v1/decisions/{decision_id}")
    assert whole["abandoned_at"] is not None
    storage = site.daemons[0].storage
    assert [row["abandoned_at_us"] is not None async for row in storage.whole_log.stream(None)] == [True]


async def test_what_is_abandoned_takes_nothing_more_and_gets_no_default(site: Site) -> None:
    made = await site.route(defer_activation=True)
    decision_id = made["decision_id"]
    await site.call("anna", "POST", f"/v1/decisions/{decision_id}/abandon")
    for path, body in (
        ("/v1/rewards", {"decision_id": decision_id, "value": 1.0}),
        (f"/v1/decisions/{decision_id}/usage", {"cost_usd": 1.0}),
        (f"/v1/decisions/{decision_id}/activate", None),
    ):
        status, problem = await site.call("anna", "POST", path, body)
        assert (status, problem["code"]) == (409, "DECISION_ABANDONED"), path
    assert await site.charged() == pytest.approx([0.0, 0.0], abs=1e-15)
    served = (await site.route())["decision_id"]
    open_ = await site.daemons[0].storage.rewards.unrewarded("default", 0, 2**60, 10)
    assert [facts.decision_id for facts in open_] == [served]


async def test_a_reward_stands_against_abandoning_until_it_is_taken_back(site: Site) -> None:
    decision_id = (await site.route())["decision_id"]
    _, receipt = await site.call("anna", "POST", "/v1/rewards", {"decision_id": decision_id, "value": 1.0})
    path = f"/v1/decisions/{decision_id}/abandon"
    status, problem = await site.call("anna", "POST", path)
    assert (status, problem["code"]) == (409, "DECISION_REWARDED")
    await site.call("anna", "DELETE", f"/v1/rewards/{receipt['reward_id']}")
    assert (await site.call("anna", "POST", path))[0] == 200


async def test_rewards_and_abandoning_at_once_never_both_hold(site: Site) -> None:
    for _ in range(8):
        decision_id = (await site.route())["decision_id"]
        body = {"decision_id": decision_id, "value": 1.0}
        (abandoned, _), (rewarded, _) = await asyncio.gather(
            site.call("anna", "POST", f"/v1/decisions/{decision_id}/abandon", at=0),
            site.call("anna", "POST", "/v1/rewards", body, at=1),
        )
        assert sorted((abandoned, rewarded)) == [200, 409]


async def test_a_presumed_cost_is_given_back_too_and_a_reported_one_stays(site: Site) -> None:
    silent, reported = [(await site.route())["decision_id"] for _ in range(2)]
    await site.daemons[0].storage.rewards.charge_estimate([silent], 2**50)
    await site.call("anna", "POST", f"/v1/decisions/{reported}/usage", {"cost_usd": 0.5})
    for decision_id in (silent, reported):
        assert (await site.call("anna", "POST", f"/v1/decisions/{decision_id}/abandon"))[0] == 200
    assert await site.charged() == pytest.approx([0.5, 0.5])


async def test_an_abandonment_under_a_key_is_answered_as_the_first(site: Site) -> None:
    path = f"/v1/decisions/{(await site.route())['decision_id']}/abandon"
    answers = [(await site.call("anna", "POST", path, at=at, key="k"))[1] for at in (0, 1)]
    assert [(one["abandoned"], one["duplicate"]) for one in answers] == [(True, False), (True, True)]


async def test_a_key_with_its_own_rewards_touches_no_others_decision(site: Site) -> None:
    decision_id = (await site.route("anna"))["decision_id"]
    reward = {"decision_id": decision_id, "value": 1.0}
    calls = (
        ("/v1/rewards", reward),
        (f"/v1/decisions/{decision_id}/usage", {"cost_usd": 0.1}),
        (f"/v1/decisions/{decision_id}/activate", None),
        (f"/v1/decisions/{decision_id}/abandon", None),
    )
    for path, body in calls:
        status, problem = await site.call("bert", "POST", path, body)
        assert (status, problem["code"]) == (403, "DECISION_OF_ANOTHER_KEY"), path
    status, listed = await site.call("bert", "POST", "/v1/rewards", [reward])
    assert (status, listed["results"][0]["status_code"]) == (207, 403)
    status, receipt = await site.call("anna", "POST", "/v1/rewards", reward)
    assert status == 200
    status, problem = await site.call("bert", "DELETE", f"/v1/rewards/{receipt['reward_id']}")
    assert (status, problem["code"]) == (403, "DECISION_OF_ANOTHER_KEY")
    assert (await site.call("all", "POST", "/v1/rewards", {**reward, "source": "judge"}))[0] == 200
    assert (await site.call("bert", "GET", f"/v1/decisions/{decision_id}"))[0] == 403


async def test_one_tenants_reward_key_does_not_meet_anothers(site: Site) -> None:
    for who in ("anna", "bert"):
        decision_id = (await site.route(who))["decision_id"]
        body = {"decision_id": decision_id, "value": 1.0}
        first = await site.call(who, "POST", "/v1/rewards", body, key="1")
        again = await site.call(who, "POST", "/v1/rewards", body, key="1", at=1)
        assert (first[0], again[0]) == (200, 200)
        assert (first[1]["duplicate"], again[1]["duplicate"]) == (False, True)
        assert (await site.call(who, "POST", "/v1/rewards", {**body, "value": 0.5}, key="1"))[0] == 409
