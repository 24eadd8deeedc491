from __future__ import annotations

import json
import math
import uuid
from typing import Any

import numpy as np
import pytest
from tests.web.conftest import decision_of

PROPER = {"input": "What is the capital of France?"}


async def test_an_answer_carries_the_decision_in_body_and_headers(client: Any, daemon: Any) -> None:
    answer = await client.post("/v1/route", json=PROPER)
    body = await answer.json()
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert body["arm"] == answer.headers["x-banditd-arm"] == "small"
    assert body["decision_id"] == answer.headers["x-banditd-decision-id"]
    assert float(answer.headers["x-banditd-propensity"]) == body["propensity"] == 0.75
    assert answer.headers["x-banditd-explored"] == "false"
    assert int(answer.headers["x-banditd-policy-version"]) == body["policy_version"] == 7
    assert float(answer.headers["x-banditd-overhead-ms"]) > 0
    assert body["predicted_reward"] == 0.8
    assert body["predicted_cost_usd"] == 0.001
    assert body["expires_at"] == "2025-10-09T09:53:20.000000Z"
    assert daemon.routing.queries[0].text == PROPER["input"]
    assert "arms" not in body


async def test_fallbacks_are_the_other_arms_best_utility_first(client: Any) -> None:
    body = await (await client.post("/v1/route", json=PROPER)).json()
    assert body["fallbacks"] == ["middle", "large"]  # utilities 0.6 and 0.4


async def test_explain_shows_every_arm_and_what_is_unknown_is_null(client: Any) -> None:
    body = await (await client.post("/v1/route", json={**PROPER, "explain": True})).json()
    assert [arm["arm"] for arm in body["arms"]] == ["small", "middle", "large", "gone"]
    assert sum(arm["probability"] for arm in body["arms"]) == pytest.approx(1.0)
    assert body["arms"][1]["deviation"] is None  # NaN inside
    assert body["arms"][3] == {
        "arm": "gone", "mean": None, "deviation": None, "cost_usd": None, "penalty": None, "utility": None,
        "probability": 0.0, "eligible": False,
    }  # fmt: skip
    assert body["exclusions"] == {"gone": "disabled"}


@pytest.mark.parametrize(("mean", "shown"), [(2.6, 1.0), (-0.3, 0.0), (0.4, 0.4), (math.nan, None)])
async def test_a_predicted_reward_is_one_that_could_come_and_what_decides_is_explained(
    client: Any, daemon: Any, monkeypatch: pytest.MonkeyPatch, mean: float, shown: float | None
) -> None:
    async def route(query: Any) -> Any:
        return decision_of(query)._replace(mean=np.array([0.9, mean, 0.7]))

    monkeypatch.setattr(daemon.routing, "route", route)
    body = await (await client.post("/v1/route", json={**PROPER, "explain": True})).json()
    [small] = [arm for arm in body["arms"] if arm["arm"] == "small"]
    assert body["predicted_reward"] == shown
    assert small["mean"] == (None if math.isnan(mean) else mean)
    assert small["utility"] == (None if math.isnan(mean) else pytest.approx(mean - 0.05))


async def test_every_field_reaches_the_query(client: Any, daemon: Any) -> None:
    body = {
        "input": "hello", "embedding": [1, 0.5], "policy": "drafts", "candidates": ["small", "large"],
        "excluded_arms": ["middle"], "capabilities": ["vision"], "max_cost_usd": 0.5, "max_latency_ms": 900,
        "quality_floor": 0.25, "cost_weight": 2, "expected_output_tokens": 50, "session_id": "s 1",
        "new_session_arm": True, "tags": {"team": "search team"}, "features": {"age": -3}, "tools": 4,
        "dry_run": True, "explain": False, "defer_activation": True,
    }  # fmt: skip
    assert (await client.post("/v1/route", json=body)).status == 200
    [query] = daemon.routing.queries
    for name in (
        "policy", "max_cost_usd", "max_latency_ms", "quality_floor", "cost_weight", "expected_output_tokens",
        "session_id", "new_session_arm", "tags", "features", "tools", "dry_run", "explain", "defer_activation",
    ):  # fmt: skip
        assert getattr(query, name) == body[name], name
    assert query.candidates == ("small", "large")
    assert query.excluded_arms == {"middle"}
    assert query.capabilities == {"vision"}
    np.testing.assert_array_equal(query.embedding, [1.0, 0.5])


async def test_messages_are_joined_and_their_user_turns_counted(client: Any, daemon: Any) -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "One"}, {"type": "image_url", "image_url": {}}]},
        {"role": "assistant", "content": None, "tool_calls": []},
        {"role": "user", "content": "Two"},
    ]
    tools = [{"type": "function", "function": {"name": "f"}}]
    answer = await client.post("/v1/route", json={"messages": messages, "tools": tools})
    assert answer.status == 200
    [query] = daemon.routing.queries
    assert query.text == "Be brief.\n\nOne\n\nTwo"
    assert (query.turns, query.tools) == (2, 1)


async def test_a_nul_in_a_prompt_is_replaced_because_no_database_stores_it(client: Any, daemon: Any) -> None:
    assert (await client.post("/v1/route", json={"input": "a\0b"})).status == 200
    assert daemon.routing.queries[0].text == "a\ufffdb"


async def test_a_batch_answers_each_query_and_says_when_one_failed(client: Any) -> None:
    queries = [PROPER, {**PROPER, "candidates": ["gone"]}]
    answer = await client.post("/v1/route/batch", json={"queries": queries})
    results = (await answer.json())["results"]
    assert answer.status == 207
    assert [(item["index"], item["status_code"]) for item in results] == [(0, 200), (1, 422)]
    assert results[0]["decision"]["arm"] == "small"
    assert results[1]["error"]["code"] == "NO_ELIGIBLE_ARM"
    whole = await client.post("/v1/route/batch", json={"queries": [PROPER]})
    assert whole.status == 200


@pytest.mark.parametrize(
    ("body", "pointer", "hint"),
    [
        ({}, "", "one of input, messages, embedding"),
        ({"input": "a", "messages": [{"role": "user", "content": "b"}]}, "", "not both"),
        ({"input": 5}, "/input", "valid string"),
        ({"input": "a", "max_cost": 1}, "/max_cost", "did you mean 'max_cost_usd'?"),
        ({"input": "a", "max_cost_usd": -1}, "/max_cost_usd", "greater than or equal to 0"),
        ({"input": "a", "max_cost_usd": "1"}, "/max_cost_usd", "valid number"),
        ({"input": "a", "dry_run": 1}, "/dry_run", "valid boolean"),
        ({"input": "a", "quality_floor": 1.5}, "/quality_floor", "less than or equal to 1"),
        ({"input": "a", "candidates": []}, "/candidates", "at least 1 item"),
        ({"input": "a", "candidates": ["x y"]}, "/candidates/0", "only letters, digits"),
        ({"input": "a", "tags": {f"k{i}": "v" for i in range(33)}}, "/tags", "at most 32"),
        ({"embedding": [0.0] * 8193}, "/embedding", "at most 8192"),
        ({"embedding": [1e7]}, "/embedding/0", "less than or equal to 1000000"),
        ({"embedding": "no"}, "/embedding", "valid array"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, "/messages/0/role", "'system'"),
        ({"messages": [{"role": "user", "content": [{"text": "x"}]}]}, "/messages/0/content/0/type", "required"),
        ({"messages": [{"role": "user", "content": 5}]}, "/messages/0/content", "string; or"),
        ({"input": "a", "tools": -1}, "/tools", "greater than or equal to 0"),
        ({"input": "a", "features": {"bad name": 1}}, "/features/bad name", "only letters, digits"),
        ({"input": "a", "tags": {"int": 5}}, "/tags/int", "valid string"),
        ({"input": "x" * 1_000_001}, "/input", "at most 1000000"),
    ],
)
async def test_bad_input_names_the_field_and_the_mend(
    client: Any, daemon: Any, body: dict[str, Any], pointer: str, hint: str
) -> None:
    answer = await client.post("/v1/route", json=body)
    problem = await answer.json()
    assert answer.status == 422
    assert answer.headers["Content-Type"] == "application/problem+json"
    found = {error["pointer"]: error["message"] for error in problem["errors"]}
    assert hint in found[pointer]
    assert daemon.routing.queries == []


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "EMPTY_BODY"),
        (b'{"input": "a"', 400, "MALFORMED_JSON"),
        (b'{"input": "a", "max_cost_usd": NaN}', 422, "INVALID_INPUT"),
        (b'{"input": "a", "max_cost_usd": 1e999}', 422, "INVALID_INPUT"),
        (b'{"embedding": [Infinity]}', 422, "INVALID_INPUT"),
        (b"[" * 100_000, 400, "MALFORMED_JSON"),
        (b'[{"input": "a"}]', 422, "INVALID_INPUT"),
        (b"null", 422, "INVALID_INPUT"),
    ],
)
async def test_unreadable_bodies_are_refused_with_a_reason(
    client: Any, daemon: Any, body: bytes, status: int, code: str
) -> None:
    answer = await client.post("/v1/route", data=body, headers={"Content-Type": "application/json"})
    problem = await answer.json()
    assert (answer.status, problem["code"]) == (status, code)
    assert daemon.routing.queries == []


IMAGE = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:"}}]}


async def test_messages_without_a_text_are_routed_without_one(client: Any, daemon: Any) -> None:
    messages = [IMAGE, {"role": "assistant", "content": None}, IMAGE]
    answer = await client.post("/v1/route", json={"messages": messages, "embedding": [0.5, 1.0]})
    assert answer.status == 200
    [query] = daemon.routing.queries
    assert (query.text, query.turns) == (None, 2)
    np.testing.assert_array_equal(query.embedding, [0.5, 1.0])
    assert (await client.post("/v1/route", json={"messages": messages})).status == 200
    batch = {"queries": [{"input": "a"}, {"messages": messages}]}
    assert (await client.post("/v1/route/batch", json=batch)).status == 200
    assert [(query.text, query.embedding) for query in daemon.routing.queries[1:]] == [
        (None, None), ("a", None), (None, None),
    ]  # fmt: skip


async def test_malformed_json_names_the_position(client: Any) -> None:
    headers = {"Content-Type": "application/json"}
    problem = await (await client.post("/v1/route", data=b'{"input": "a",}', headers=headers)).json()
    assert "line 1 column 15" in problem["detail"]


async def test_the_limits_of_the_configuration_hold(serve: Any, daemon: Any) -> None:
    client = await serve(daemon, max_body_bytes=2000, max_input_chars=10, max_batch=2)
    long = await client.post("/v1/route", json={"input": "x" * 11})
    assert long.status == 422
    assert "at most 10" in (await long.json())["detail"]
    large = await client.post("/v1/route", json={"input": "x" * 3000})
    assert large.status == 413
    assert (await large.json())["code"] == "BODY_TOO_LARGE"
    assert "2000" in (await large.json())["detail"]
    many = await client.post("/v1/route/batch", json={"queries": [{"input": "a"}] * 3})
    assert many.status == 422
    inner = await client.post("/v1/route/batch", json={"queries": [{"input": "a"}, {"input": "x" * 11}]})
    assert (await inner.json())["errors"][0]["pointer"] == "/queries/1/input"
    assert daemon.routing.queries == []


async def test_a_form_is_refused_and_told_the_mend(client: Any) -> None:
    answer = await client.post("/v1/route", data={"input": "a"})
    assert answer.status == 415
    assert "application/json" in (await answer.json())["detail"]


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "application/vnd.x+json"])
async def test_other_spellings_of_json_are_taken(client: Any, content_type: str) -> None:
    body = json.dumps(PROPER).encode()
    answer = await client.post("/v1/route", data=body, headers={"Content-Type": content_type})
    assert answer.status == 200


async def test_a_failure_nobody_raised_on_purpose_says_nothing(client: Any, daemon: Any) -> None:
    secret = uuid.uuid4().hex
    daemon.routing.failure = ValueError(secret)
    answer = await client.post("/v1/route", json=PROPER)
    text = await answer.text()
    assert answer.status == 500
    assert secret not in text
    assert json.loads(text)["code"] == "INTERNAL_ERROR"
    daemon.routing.failure = None
    assert (await client.post("/v1/route", json=PROPER)).status == 200  # and the connection lives on


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ("It rains.", "It rains."),
        ([{"type": "text", "text": "It"}, {"type": "image"}, {"type": "text", "text": "rains."}], "It\n\nrains."),
        ([], None), (None, None), ({"type": "text", "text": "of another shape"}, None), (7, None),
        (["a text", {"text": 5}, None], None), ([{"type": "text", "text": "half \ud83d"}], "half \ufffd"),
    ],
)  # fmt: skip
async def test_what_a_tool_said_is_text_of_the_query(client: Any, daemon: Any, said: Any, text: str | None) -> None:
    result = {"type": "tool_result", "tool_use_id": "1", "content": said}
    question = {"role": "user", "content": "Weather?"}
    for messages, wanted in (
        ([{"role": "user", "content": [result]}], text),
        ([question, {"role": "user", "content": [result]}], "Weather?" if text is None else f"Weather?\n\n{text}"),
    ):
        body = json.dumps({"messages": messages}).encode()
        answer = await client.post("/v1/route", data=body, headers={"Content-Type": "application/json"})
        assert answer.status == 200, await answer.text()
        query = daemon.routing.queries[-1]
        assert (query.text, query.turns) == (wanted, 1)


async def test_a_recipe_is_nobodys_fallback(client: Any, daemon: Any) -> None:
    """Who is to call another arm after a failure is handed out models, not a name that no upstream knows."""
    daemon.routing.recipes = {"large": {"kind": "fallback", "members": [], "else": None, "answers": "auto"}}
    body = await (await client.post("/v1/route", json=PROPER)).json()
    assert (body["arm"], body["fallbacks"], body["recipe"]) == ("small", ["middle"], None)
    [found] = (await (await client.post("/v1/route/batch", json={"queries": [PROPER]})).json())["results"]
    assert found["decision"]["fallbacks"] == ["middle"]
