"""Whatever characters a user's text holds, it is routed, rewarded and found again: over HTTP, on both databases."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.over_http import client_of
from tests.patience import PATIENT

from banditd.settings import Settings
from banditd.web.legible import legible_json

ARMS = [{"arm": name, "price": {"usd_per_mtok_in": 1.0, "usd_per_mtok_out": 1.0}} for name in ("small", "large")]
JSON = {"Content-Type": "application/json"}
IMAGE = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]}
AUDIO = {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}]}
CALL = {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "type": "function"}]}
RESULT = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": [{"type": "text"}]}]}
WITHOUT_TEXT = {
    "image": [IMAGE],
    "audio": [AUDIO],
    "images between calls": [IMAGE, CALL, IMAGE],
    "tool result": [CALL, RESULT],
    "tool of nothing": [CALL, {"role": "tool", "content": "", "tool_call_id": "1"}],
    "null": [{"role": "user", "content": None}],
    "left out": [{"role": "user"}],
    "empty": [{"role": "user", "content": ""}],
    "no parts": [{"role": "user", "content": []}],
    "empty part": [{"role": "user", "content": [{"type": "text", "text": ""}]}],
    "no messages": [],
}
ODD = '\ud83d\ude00\udfff\ud800\0\x01\x0b\x1f\x7f\x85\ufeff\ufffe\uffff\u2028\u200b\u202e\\"\n\r\té中😀'
texts = st.text(st.one_of(st.sampled_from(ODD), st.characters(exclude_categories=[])), max_size=40)


@pytest.fixture
async def live(database_url: str) -> AsyncIterator[Any]:
    made = Settings(
        database={"url": database_url, **PATIENT},
        learner={"pause_ms": 0, "poll_s": 0.25, "lease_s": 2},
        privacy={"store_input": True},
        policies={"default": {"arms": ARMS}},
    )
    async with client_of(made) as client:
        yield client


async def post(live: Any, path: str, body: Any) -> Any:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = await live.post(path, data=data, headers=JSON)
    assert answer.status == 200, (answer.status, body, await answer.text())
    return await answer.json()


async def get(live: Any, path: str, **parameters: str) -> Any:
    answer = await live.get(path, params=parameters)
    assert answer.status == 200, await answer.text()
    return await answer.json()


@pytest.mark.parametrize("kind", WITHOUT_TEXT)
async def test_messages_without_text_get_a_flagged_decision(live: Any, kind: str) -> None:
    body = {"messages": WITHOUT_TEXT[kind], "tools": 2, "explain": True}
    decision = await post(live, "/v1/route", body)
    assert decision["degraded"] == "no_text"
    assert sum(arm["probability"] for arm in decision["arms"]) == pytest.approx(1.0)
    batch = await post(live, "/v1/route/batch", {"queries": [{"input": "What is 17 times 23?"}, body]})
    assert [item["decision"]["degraded"] for item in batch["results"]] == [None, "no_text"]
    await post(live, "/v1/rewards", {"decision_id": decision["decision_id"], "value": 0.5, "source": "judge"})
    await post(live, f"/v1/decisions/{decision['decision_id']}/usage", {"input_tokens": 10, "output_tokens": 5})
    stored = await get(live, f"/v1/decisions/{decision['decision_id']}")
    assert (stored["input_text"], stored["input_hash"], stored["degraded"]) == (None, None, "no_text")
    async with asyncio.timeout(120):
        while (await get(live, "/v1/stats"))["rewards"] < 1:  # noqa: ASYNC110 - over HTTP nobody tells
            await asyncio.sleep(0.02)


async def test_an_empty_text_is_no_text_and_blanks_are_one(live: Any) -> None:
    assert (await post(live, "/v1/route", {"input": ""}))["degraded"] == "no_text"
    assert (await post(live, "/v1/route", {"input": " \n"}))["degraded"] is None


RAW = {
    "half a pair": (rb'{"input": "look \ud83d"}', "look \ufffd"),
    "the other half": (rb'{"input": "\uDE00 look"}', "\ufffd look"),
    "halves in the wrong order": (rb'{"input": "\ude00\ud83d"}', "\ufffd\ufffd"),
    "a whole pair and a half": (rb'{"input": "\ud83d\ude00\ud83d"}', "\U0001f600\ufffd"),
    "an escaped backslash before": (rb'{"input": "\\\ud83d\\ud83d"}', "\\\ufffd\\ud83d"),
    "a byte order mark before": (b'\xef\xbb\xbf{"input": "a"}', "a"),
    "a byte order mark within": (b'{"input": "\xef\xbb\xbfa"}', "\ufeffa"),
    "utf-16": ('{"input": "h\u00e9"}'.encode("utf-16"), "h\u00e9"),
    "utf-32 without a mark": ('{"input": "h\u00e9"}'.encode("utf-32-le"), "h\u00e9"),
    "a surrogate as bytes": (b'{"input": "\xed\xa0\xbda"}', "\ufffd\ufffd\ufffda"),
    "bytes of another encoding": (b'{"input": "caf\xe9 cr\xe8me"}', "caf\ufffd cr\ufffdme"),
    "a character cut in two": (b'{"input": "\xe4\xb8"}', "\ufffd"),
    "raw lines": (b'{"input": "a\nb\r\tc"}', "a\nb\r\tc"),
    "raw controls": (b'{"input": "a\x00\x01\x1fb"}', "a\ufffd\ufffd\ufffdb"),
    "an escaped NUL": (rb'{"input": "a\u0000b"}', "a\ufffdb"),
    "noncharacters": (rb'{"input": "\ufffe\uffff"}', "\ufffe\uffff"),
}


async def test_what_a_client_could_not_write_is_replaced_and_stored(live: Any) -> None:
    found = {}
    for kind, (body, _) in RAW.items():
        decision = await post(live, "/v1/route", body)
        found[kind] = (await get(live, f"/v1/decisions/{decision['decision_id']}"))["input_text"]
    assert found == {kind: text for kind, (_, text) in RAW.items()}


async def test_a_list_is_a_list_in_every_encoding_and_behind_any_space(live: Any) -> None:
    decision = await post(live, "/v1/route", b'{"input": "a"}')
    rewards = json.dumps([{"decision_id": decision["decision_id"], "value": 1}])
    for body in (rewards.encode("utf-16"), rewards.encode("utf-32-be"), b" " * 200 + rewards.encode()):
        answer = await post(live, "/v1/rewards", body)
        assert [one["status_code"] for one in answer["results"]] == [200]


WRONG = (
    b'{"input": "a',
    b'{"input": "\\x41"}',
    b'{"input": "\\u12"}',
    b'\xef\xbb\xbf{"input"}',
    b'{"a"\x00:1}',
    b"[" * 100_000,
)


async def test_what_is_wrong_with_the_form_stays_wrong(live: Any) -> None:
    for body in WRONG:
        answer = await live.post("/v1/route", data=body, headers=JSON)
        assert (answer.status, (await answer.json())["code"]) == (400, "MALFORMED_JSON"), body[:40]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=texts, tag=texts, session=texts, note=texts, raw=st.booleans())
def test_no_text_of_a_user_is_refused(
    live_loop: Any, text: str, tag: str, session: str, note: str, raw: bool
) -> None:
    run, live = live_loop

    async def walk() -> None:
        query = {"input": text, "tags": {"title": tag}, "session_id": session}
        messages = {"messages": [{"role": "user", "content": [{"type": "text", "text": text}]}], "tags": {"t": tag}}
        for body in (query, messages):
            data = json.dumps(body, ensure_ascii=not raw).encode("utf-8", "surrogatepass")
            decision = await post(live, "/v1/route", data)
            identity = decision["decision_id"]
            await post(live, f"/v1/decisions/{identity}/usage", {"latency_ms": 5.0, "finish_reason": note or "stop"})
            reward = {
                "decision_id": identity,
                "value": 0.5,
                "source": "judge",
                "metadata": {"why": note, note: [note]},
            }
            await post(live, "/v1/rewards", reward)
            stored = await get(live, f"/v1/decisions/{identity}")
            assert not set(json.dumps(stored, ensure_ascii=False)) & {"\0", "\ud83d"}
            if decision["session_id"]:
                found = await get(live, "/v1/decisions", session_id=decision["session_id"])
                assert identity in {one["decision_id"] for one in found["decisions"]}
        await post(live, "/v1/route/batch", {"queries": [query, messages]})

    run(walk())


@pytest.fixture
def live_loop(database_url: str) -> Any:
    """A running daemon for a test that is no coroutine: (run a coroutine on its loop, client)."""
    made = Settings(
        database={"url": database_url, **PATIENT}, privacy={"store_input": True}, policies={"default": {"arms": ARMS}}
    )
    with asyncio.Runner() as runner:

        async def start() -> Any:
            client = client_of(made)
            await client.start_server()
            return client

        client = runner.run(start())
        try:
            yield runner.run, client
        finally:
            runner.run(client.close())


@settings(max_examples=300)
@given(st.text(st.one_of(st.sampled_from('"\\ud83de0fF{}[]:,n\n\0'), st.characters(exclude_categories=["Cs"]))))
def test_what_can_be_read_is_left_as_it_is(text: str) -> None:
    body = json.dumps({"input": text}).encode()
    mended = legible_json(body)
    assert json.loads(mended or body) == {"input": text}


async def test_filters_take_times_before_and_after_everything(live: Any) -> None:
    last = "9999-12-31T23:59:59.999999Z"
    for query in ("until=0001-01-01T00:00:00Z", "since=0001-01-01T00:00:00Z&until=0001-01-01T00:00:01Z",
                  f"until={last}", f"since={last}"):  # fmt: skip
        for path in ("stats/timeseries", "decisions", "savings"):
            answer = await live.get(f"/v1/{path}?{query}")
            assert answer.status in {200, 422}, (path, query, await answer.text())


async def test_filters_take_odd_characters_too(live: Any) -> None:
    for value in ("%ED%A0%BD", "%00", "%EF%BB%BF", "%FF", "a%0Ab"):
        answer = await live.get(f"/v1/decisions?session_id={value}")
        assert answer.status == 200, (value, await answer.text())
