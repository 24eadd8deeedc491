from __future__ import annotations

from typing import Any

import pytest

DECISION = "01890a5d-ac96-774b-bcce-b302099a8057"
UNKNOWN = "00000000-0000-7000-8000-00000000dead"


async def test_one_reward_gets_its_receipt(client: Any, daemon: Any) -> None:
    body = {"decision_id": DECISION, "value": 0.5, "metric": "f1", "source": "judge", "metadata": {"a": [1]}}
    answer = await client.post("/v1/rewards", json=body, headers={"Idempotency-Key": "k-1"})
    receipt = await answer.json()
    assert answer.status == 200
    assert receipt["status"] == "recorded"
    assert receipt["reward"] == 0.5
    [given] = daemon.rewards.given
    assert (given.decision_id, given.value, given.metric, given.source) == (DECISION, 0.5, "f1", "judge")
    assert given.idempotency_key == "k-1"
    assert given.metadata == {"a": [1]}


async def test_a_held_reward_is_accepted_not_done(client: Any) -> None:
    body = {"decision_id": DECISION, "thumb": "up", "source": "held"}
    assert (await client.post("/v1/rewards", json=body)).status == 202


async def test_the_same_words_have_the_same_hash_whatever_their_order_and_another_value_another(
    client: Any, daemon: Any
) -> None:
    headers = {"Content-Type": "application/json"}
    for text in (
        f'{{"decision_id":"{DECISION}","value":1,"metadata":{{"a":1,"b":2}}}}',
        f'{{ "value": 1.0, "metadata":{{"b":2,"a":1}}, "decision_id": "{DECISION}" }}',
        f'{{"decision_id":"{DECISION}","value":0.5,"metadata":{{"a":1,"b":2}}}}',
    ):
        assert (await client.post("/v1/rewards", data=text.encode(), headers=headers)).status == 200
    first, again, other = (given.body_hash for given in daemon.rewards.given)
    assert first == again != other


async def test_a_list_has_a_result_for_each(client: Any, daemon: Any) -> None:
    items = [
        {"decision_id": DECISION, "value": 1.0, "idempotency_key": "a"},
        {"decision_id": UNKNOWN, "thumb": "down"},
        {"decision_id": DECISION, "value": 0.0, "source": "held"},
        {"decision_id": DECISION, "value": 0.0, "idempotency_key": "taken"},
    ]
    answer = await client.post("/v1/rewards", json=items)
    results = (await answer.json())["results"]
    assert answer.status == 207
    assert [item["index"] for item in results] == [0, 1, 2, 3]
    assert [item["status_code"] for item in results] == [200, 404, 202, 409]
    assert results[1]["error"]["code"] == "DECISION_NOT_FOUND"
    assert results[0]["receipt"]["decision_id"] == DECISION
    assert daemon.rewards.given[0].idempotency_key == "a"


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"decision_id": DECISION}, ""),
        ({"decision_id": DECISION, "value": 1, "thumb": "up"}, ""),
        ({"decision_id": DECISION, "value": 1, "retract": True}, ""),
        ({"decision_id": DECISION, "value": True}, "/value"),
        ({"decision_id": DECISION, "value": "0.5"}, "/value"),
        ({"decision_id": "x", "value": 1}, "/decision_id"),
        ({"value": 1}, "/decision_id"),
        ({"decision_id": DECISION, "thumb": "sideways"}, "/thumb"),
        ({"decision_id": DECISION, "value": 1, "sourc": "judge"}, "/sourc"),
        ({"decision_id": DECISION, "value": 1, "metadata": {"x": "y" * 20_000}}, "/metadata"),
        ([], ""),
        ([{"decision_id": DECISION, "value": 1}, {"decision_id": DECISION, "value": None}], "/1"),
    ],
)
async def test_a_bad_reward_is_refused_whole_and_nothing_is_recorded(
    client: Any, daemon: Any, body: Any, pointer: str
) -> None:
    answer = await client.post("/v1/rewards", json=body)
    assert answer.status == 422
    assert pointer in {error["pointer"] for error in (await answer.json())["errors"]}
    assert daemon.rewards.given == []


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity", "1e999"])
async def test_no_infinity_hides_in_value_or_metadata(client: Any, daemon: Any, literal: str) -> None:
    headers = {"Content-Type": "application/json"}
    for text in (
        f'{{"decision_id":"{DECISION}","value":{literal}}}',
        f'{{"decision_id":"{DECISION}","value":1,"metadata":{{"deep":[{{"x":{literal}}}]}}}}',
    ):
        assert (await client.post("/v1/rewards", data=text.encode(), headers=headers)).status == 422
    assert daemon.rewards.given == []


async def test_the_key_may_stand_in_header_or_body_but_not_differ(client: Any, daemon: Any) -> None:
    body = {"decision_id": DECISION, "value": 1.0, "idempotency_key": "one"}
    assert (await client.post("/v1/rewards", json=body)).status == 200
    assert (await client.post("/v1/rewards", json=body, headers={"Idempotency-Key": "one"})).status == 200
    assert (await client.post("/v1/rewards", json=body, headers={"Idempotency-Key": "two"})).status == 422
    assert (await client.post("/v1/rewards", json=[body], headers={"Idempotency-Key": "one"})).status == 422
    assert (await client.post("/v1/rewards", json=body, headers={"Idempotency-Key": "a b"})).status == 422
    assert [given.idempotency_key for given in daemon.rewards.given] == ["one", "one"]


async def test_one_refused_reward_is_a_problem_of_its_own(client: Any) -> None:
    missing = await client.post("/v1/rewards", json={"decision_id": UNKNOWN, "value": 1})
    assert (missing.status, (await missing.json())["code"]) == (404, "DECISION_NOT_FOUND")
    body = {"decision_id": DECISION, "value": 1}
    taken = await client.post("/v1/rewards", json=body, headers={"Idempotency-Key": "taken"})
    assert (taken.status, (await taken.json())["errors"][0]["pointer"]) == (409, "/idempotency_key")


async def test_a_reward_is_taken_back_by_its_id(client: Any) -> None:
    answer = await client.delete(f"/v1/rewards/{DECISION}")
    assert answer.status == 200
    assert (await answer.json())["revision"] == 1
    assert (await client.delete(f"/v1/rewards/{UNKNOWN}")).status == 404
    assert (await client.delete("/v1/rewards/not-an-id")).status == 404


async def test_usage_and_activation_reach_their_decision(client: Any, daemon: Any) -> None:
    report = {"input_tokens": 10, "output_tokens": 20, "cost_usd": 0.1, "latency_ms": 5.5, "served_arm": "b"}
    answer = await client.post(f"/v1/decisions/{DECISION}/usage", json=report)
    assert await answer.json() == {"decision_id": DECISION, "duplicate": False, "cost_usd": 0.1, "revision": 0}
    [given] = daemon.rewards.usage
    assert all(getattr(given, name) == value for name, value in report.items())
    wrong = await client.post(f"/v1/decisions/{DECISION}/usage", json={"input_tokens": 1.5})
    assert wrong.status == 422
    active = await client.post(f"/v1/decisions/{DECISION}/activate")
    assert await active.json() == {"decision_id": DECISION, "activated": True, "duplicate": False}
