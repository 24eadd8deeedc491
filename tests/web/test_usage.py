"""Usage reports over HTTP: attempts, revisions, and what is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.over_http import client_of

from banditd.settings import Settings

ARMS = [{"arm": "small", "price": {"usd_per_mtok_out": 0.4}}, {"arm": "large", "price": {"usd_per_mtok_out": 15.0}}]


@pytest.fixture
async def live(sqlite_url: str) -> AsyncIterator[Any]:
    budgets = [
        {"name": "day", "usd": 1.0, "per": "day"},
        {"name": "team", "usd": 1.0, "per": "day", "of": "tag:team"},
    ]
    settings = Settings(database={"url": sqlite_url}, policies={"default": {"arms": ARMS, "budgets": budgets}})
    async with client_of(settings) as client:
        yield client


async def routed(live: Any) -> str:
    return str((await (await live.post("/v1/route", json={"input": "x"})).json())["decision_id"])


async def report(live: Any, decision_id: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    answer = await live.post(f"/v1/decisions/{decision_id}/usage", json=body)
    return answer.status, await answer.json()


async def test_reports_are_merged_and_repeats_are_duplicates(live: Any) -> None:
    decision_id = await routed(live)
    status, first = await report(live, decision_id, {"latency_ms": 20})
    assert (status, first["revision"], first["cost_usd"]) == (200, 0, None)
    status, second = await report(live, decision_id, {"cost_usd": 1000000, "input_tokens": None})
    assert (status, second["revision"], second["cost_usd"]) == (200, 1, 1000000)
    status, third = await report(live, decision_id, {"cost_usd": 0.0001})
    assert (status, third["revision"], third["duplicate"]) == (200, 2, False)
    status, again = await report(live, decision_id, {"latency_ms": 20.0})
    assert (status, again["revision"], again["duplicate"], again["cost_usd"]) == (200, 2, True, 0.0001)
    whole = await (await live.get(f"/v1/decisions/{decision_id}")).json()
    assert [one["report"] for one in whole["usage_revisions"]] == [
        {"latency_ms": 20.0}, {"cost_usd": 1000000.0, "latency_ms": 20.0},
    ]  # fmt: skip


async def test_attempts_are_shown_with_their_kinds_of_failure(live: Any) -> None:
    decision_id = await routed(live)
    arms = [one["arm"] for one in (await (await live.get("/v1/arms")).json())["arms"]][:2]
    told = [
        {"arm": arms[0], "error": "http_503", "retry_after_s": 0.001},
        {"arm": arms[1], "output_tokens": 5},
    ]
    assert (await report(live, decision_id, {"attempts": told}))[0] == 200
    whole = await (await live.get(f"/v1/decisions/{decision_id}")).json()
    assert [(one["arm"], one["error"], one["output_tokens"]) for one in whole["attempts"]] == [
        (arms[0], "overload", None), (arms[1], None, 5),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"attempts": []}, "/attempts"),
        ({"attempts": [{"arm": "a"}] * 17}, "/attempts"),
        ({"attempts": [{"error": "timeout"}]}, "/attempts/0/arm"),
        ({"attempts": [{"arm": "a", "retry_after_s": -1}]}, "/attempts/0/retry_after_s"),
        ({"attempts": [{"arm": "a", "wait_s": 1}]}, "/attempts/0/wait_s"),
        ({"attempts": [{"arm": "a", "input_tokens": 1, "cached_input_tokens": 2}]}, "/attempts/0"),
        ({"attempts": [{"arm": "a"}], "served_arm": "b"}, ""),
        ({"attempts": [{"arm": "a"}], "error": "timeout"}, ""),
        ({"attempts": [{"arm": "a", "cost_usd": 1.0}], "cost_usd": 2.0}, ""),
    ],
)
async def test_contradictions_are_refused_with_their_place(live: Any, body: dict[str, Any], field: str) -> None:
    status, problem = await report(live, await routed(live), body)
    assert status == 422
    assert [one["pointer"] for one in problem["errors"]] == [field]


async def test_an_attempt_of_an_arm_that_never_was_is_refused_and_stores_nothing(live: Any) -> None:
    decision_id = await routed(live)
    status, problem = await report(live, decision_id, {"attempts": [{"arm": "nobody"}], "cost_usd": 5})
    assert (status, problem["code"]) == (404, "ARM_UNKNOWN")
    assert (await (await live.get(f"/v1/decisions/{decision_id}")).json())["usage"] is None


async def correct(live: Any, body: dict[str, Any], name: str = "day", **headers: str) -> tuple[int, dict[str, Any]]:
    answer = await live.post(f"/v1/budgets/{name}/corrections", json=body, headers=headers)
    return answer.status, await answer.json()


async def test_an_account_can_be_corrected_by_hand_once_per_id(live: Any) -> None:
    await report(live, await routed(live), {"cost_usd": 100.0})
    wanted = {"usd": -99.5, "reason": "a wrong report", "correction_id": "c-1"}
    for duplicate in (False, True):
        status, answer = await correct(live, wanted)
        assert (status, answer["duplicate"], answer["charged_usd"]) == (200, duplicate, pytest.approx(0.5))
    assert (await correct(live, {"usd": -99.5, "reason": "x"}, **{"Idempotency-Key": "c-1"}))[1]["duplicate"]
    # Clients send a key of their own with every change: the id that was given counts.
    assert (await correct(live, wanted, **{"Idempotency-Key": "of-the-client"}))[1]["duplicate"]
    assert (await correct(live, {**wanted, "usd": 1.0}))[1]["code"] == "CORRECTION_CONFLICT"
    [day, *_] = (await (await live.get("/v1/budgets")).json())["budgets"]
    assert (day["charged_usd"], day["remaining_usd"]) == (pytest.approx(0.5), pytest.approx(0.5))


@pytest.mark.parametrize(
    ("name", "body", "status", "place"),
    [
        ("day", {"usd": -1e6, "reason": "x"}, 422, "/usd"),
        ("day", {"usd": 1.0}, 422, "/reason"),
        ("day", {"usd": 1e300, "reason": "x"}, 422, "/usd"),
        ("day", {"usd": 1.0, "reason": "x", "account": "red"}, 422, "/account"),
        ("team", {"usd": 1.0, "reason": "x"}, 422, "/account"),
        ("nothing", {"usd": 1.0, "reason": "x"}, 404, None),
        ("day", {"usd": 1.0, "reason": "x", "policy": "nobody"}, 404, "/policy"),
    ],
)
async def test_a_wrong_correction_says_what_is_wrong(
    live: Any, name: str, body: dict[str, Any], status: int, place: str | None
) -> None:
    got, problem = await correct(live, body, name)
    assert got == status
    assert [one["pointer"] for one in problem.get("errors", [])] == ([place] if place else [])
