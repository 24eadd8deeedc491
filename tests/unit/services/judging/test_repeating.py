"""What of a request may be sent to another model."""

from __future__ import annotations

import json
from typing import Any

import pytest

from banditd.core.types import Query, Turn
from banditd.services.gateway.call import GatewayCall
from banditd.services.judging import repeating
from banditd.services.judging.repeating import request_to_repeat

MESSAGES = [{"role": "user", "content": "Hi\u0000 \ud800"}]


def call(surface: Any = "chat", *, turn: Turn | None = None, wanted: Any = (), **body: Any) -> GatewayCall:
    whole = {"model": "auto", "messages": MESSAGES, **body}
    headers = {"authorization": "secret", "cookie": "secret", "anthropic-beta": "b", "openai-beta": "o"}
    return GatewayCall(
        query=Query(text="Hi", turn=turn), surface=surface, body=whole, stream=True, headers=headers,
        wanted=frozenset(wanted),
    )  # fmt: skip


@pytest.mark.parametrize(
    "asked",
    [
        call("messages", tools=[{"type": "code_execution_20250825", "name": "code_execution"}]),
        call(
            "messages", tools=[{"name": "f", "input_schema": {}}, {"type": "computer_20250124", "name": "computer"}]
        ),
        call("messages", mcp_servers=[{"type": "url", "url": "https://a", "name": "a"}]),
        call("messages", container="c"),
        call("responses", tools=[{"type": "file_search", "vector_store_ids": ["v"]}]),
        call("responses", previous_response_id="r"),
        call("responses", conversation={"id": "c"}),
        call(audio={"voice": "a"}),
        call(tools="what?"),
        call(tools=["what?"]),
        call(n=3),
        call(wanted=["vision"]),
        call(turn=Turn(conversation="c", open=True)),
        call("embeddings"),
    ],
)
def test_what_a_provider_keeps_or_does_is_asked_once(asked: GatewayCall) -> None:
    assert request_to_repeat(asked) is None


def test_what_is_asked_again_is_the_request_without_its_stream_and_without_credentials() -> None:
    limits = {"max_tokens": 50, "max_completion_tokens": 20}
    tools = [{"type": "function", "function": {"name": "f"}}, {"type": "custom", "custom": {"name": "g"}}]
    asked = call(stream=True, stream_options={"include_usage": True}, store=True, tools=tools, n=1, **limits)
    found = request_to_repeat(asked)
    assert found is not None
    assert json.loads(found.body) == {
        "model": "auto", "messages": MESSAGES, "store": False, "tools": tools, "n": 1, **limits,
    }  # fmt: skip
    assert "\0" not in found.body
    assert found.headers == {"anthropic-beta": "b", "openai-beta": "o"}
    assert found.most_output_tokens == 20.0
    closed = request_to_repeat(call(turn=Turn(conversation="c", open=False)))
    assert closed is not None
    assert closed.most_output_tokens is None


@pytest.mark.parametrize(
    "limit", [10**400, -(10**400), 10**12, float("inf"), float("nan")], ids=["huge", "low", "long", "endless", "none"]
)
def test_a_limit_that_is_none_loses_no_other_request(limit: float) -> None:
    found = request_to_repeat(call(max_tokens=limit, max_output_tokens=70))
    assert found is not None
    assert found.most_output_tokens == 70.0


def test_what_is_too_long_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    size = len(json.dumps({"model": "auto", "messages": MESSAGES}, separators=(",", ":")))
    monkeypatch.setattr(repeating, "MAX_REQUEST_BYTES", size)
    assert request_to_repeat(call()) is not None
    assert request_to_repeat(call(user="u")) is None
