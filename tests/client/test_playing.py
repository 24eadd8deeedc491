"""A recipe that a client plays: whom it asks, what it gives back, and what the daemon then knows of the calls."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from banditd.client import AsyncClient, Client

NAMES = {"one": "m1", "two": "m2", "three": "m3"}
CHOSEN: dict[str, Any] = {"candidates": ["pair"]}


@pytest.fixture(scope="module")
def url(running: Any) -> Iterator[str]:
    with Client(running.url) as client:
        for arm, model in NAMES.items():
            client.call("POST", "/v1/arms", body={"arm": arm, "upstream_model": model})
        recipe = {"kind": "agree", "members": ["one", "two"], "else": "three"}
        client.call("POST", "/v1/arms", body={"arm": "pair", "recipe": recipe})
        yield running.url
        for arm in ("pair", *NAMES):
            client.call("DELETE", f"/v1/arms/{arm}")


def completion(text: str) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return {"id": f"id-{text}", "choices": [choice], "usage": {"prompt_tokens": 5, "completion_tokens": len(text)}}


@pytest.mark.parametrize(
    ("answers", "given", "calls"),
    [
        ({"m1": "B", "m2": "The answer is B"}, "B", [("two", None), ("one", None)]),
        ({"m1": "B", "m2": "C", "m3": "C"}, "C", [("one", None), ("two", None), ("three", None)]),
        ({"m1": None, "m2": "C", "m3": "D"}, "D", [("one", "timeout"), ("two", None), ("three", None)]),
    ],
)
@pytest.mark.parametrize("kind", ["blocking", "async"])
async def test_a_client_plays_what_was_handed_out(
    url: str, kind: str, answers: dict[str, str | None], given: str, calls: list[tuple[str, str | None]]
) -> None:
    def call(model: str) -> dict[str, Any]:
        text = answers[model]
        if text is None:
            raise TimeoutError
        return completion(text)

    async def call_async(model: str) -> dict[str, Any]:
        return call(model)

    if kind == "blocking":
        with Client(url) as client, client.turn("Which?", **CHOSEN) as turn:
            answer = turn.play(call)
    else:
        async with AsyncClient(url) as later, later.turn("Which?", **CHOSEN) as turn:
            answer = await turn.play_async(call_async)
    assert answer == completion(given)
    with Client(url) as client:
        whole = client.call("GET", f"/v1/decisions/{turn.decision_id}")
    assert [(one["arm"], one["error"]) for one in whole["attempts"]] == calls
    assert {one["recipe"] for one in whole["attempts"]} == {"pair"}
    usage = whole["usage"]
    assert (usage["served_arm"], usage["output_tokens"], usage["response_id"]) == (None, len(given), f"id-{given}")


def test_a_run_that_nobody_answers_raises_and_is_reported(url: str) -> None:
    def call(_model: str) -> str:
        raise ConnectionError

    with Client(url) as client:
        with pytest.raises(ConnectionError), client.turn("Which?", **CHOSEN) as turn:
            turn.play(call)
        whole = client.call("GET", f"/v1/decisions/{turn.decision_id}")
        assert [one["error"] for one in whole["attempts"]] == ["transport"] * 3
        assert whole["usage"]["error"] == "ConnectionError"
        with client.turn("Which?", candidates=["two"]) as alone:  # of a model it is one call
            assert alone.play(lambda model: model) == "m2"
