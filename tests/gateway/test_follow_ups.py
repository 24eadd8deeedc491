"""Refusals, lengths and regenerations as the gateway sees them, asked by the official clients."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from anthropic import AsyncAnthropic
from openai import APIError, AsyncOpenAI
from tests.gateway.conftest import KEY, Serve
from tests.gateway.test_conversations import Talk, answer, talking, user
from tests.gateway.test_faults import settled

NO = "I cannot help with that."


def sse(*events: Any) -> bytes:
    lines = [f"event: {one['type']}\n" if isinstance(one, dict) and "type" in one else "" for one in events]
    datas = [one if isinstance(one, str) else json.dumps(one) for one in events]
    return "".join(f"{line}data: {data}\n\n" for line, data in zip(lines, datas, strict=True)).encode()


def chat(how: str) -> tuple[dict[str, Any], bytes]:
    """How an OpenAI model declines: in a field of its own, or by its filter."""
    said = {"refusal": NO} if how == "field" else {"content": "I can"}
    reason = "stop" if how == "field" else "content_filter"
    head = {"id": "chatcmpl-1", "created": 0, "model": "m"}
    usage = {"prompt_tokens": 3, "completion_tokens": 6, "total_tokens": 9}
    message = {"role": "assistant", "content": None, "refusal": None, **said}
    whole = {
        **head, "object": "chat.completion", "usage": usage,
        "choices": [{"index": 0, "message": message, "finish_reason": reason, "logprobs": None}],
    }  # fmt: skip
    [(name, words)] = said.items()
    deltas: list[Any] = [({"role": "assistant", "content": ""}, None)]
    deltas += [({name: piece}, None) for piece in (words[:5], words[5:])] + [({}, reason)]
    chunks = [
        {**head, "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": d, "finish_reason": r}]}
        for d, r in deltas
    ]
    return whole, sse(*chunks, {**head, "object": "chat.completion.chunk", "choices": [], "usage": usage}, "[DONE]")


def message() -> tuple[dict[str, Any], bytes]:
    usage = {"input_tokens": 3, "output_tokens": 6}
    head = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "stop_sequence": None}
    whole = {**head, "content": [{"type": "text", "text": NO}], "stop_reason": "refusal", "usage": usage}
    stream = sse(
        {"type": "message_start", "message": {**head, "content": [], "stop_reason": None, "usage": usage}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": NO}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "refusal", "stop_sequence": None}, "usage": usage},
        {"type": "message_stop"},
    )
    return whole, stream


def response() -> tuple[dict[str, Any], bytes]:
    part = {"type": "refusal", "refusal": NO}
    item = {"id": "i", "type": "message", "role": "assistant", "status": "completed", "content": [part]}
    head = {
        "id": "resp_1", "object": "response", "created_at": 0, "model": "m", "tools": [], "tool_choice": "auto",
        "parallel_tool_calls": True,
    }  # fmt: skip
    usage = {
        "input_tokens": 3, "output_tokens": 6, "total_tokens": 9, "input_tokens_details": {"cached_tokens": 0},
        "output_tokens_details": {"reasoning_tokens": 0},
    }  # fmt: skip
    whole = {**head, "status": "completed", "output": [item], "usage": usage}
    told = {"type": "response.refusal.delta", "item_id": "i", "output_index": 0, "content_index": 0, "delta": NO}
    stream = sse(
        {
            "type": "response.created",
            "response": {**head, "status": "in_progress", "output": []},
            "sequence_number": 0,
        },
        {**told, "sequence_number": 1},
        {"type": "response.completed", "response": whole, "sequence_number": 2},
    )
    return whole, stream


@pytest.fixture
async def declining() -> AsyncIterator[str]:
    """An upstream that declines on every surface; its model's name says how."""

    async def decline(request: web.Request) -> web.Response:
        asked = await request.json()
        surface = request.path.rpartition("/")[2]
        whole, stream = {"completions": lambda: chat(asked["model"]), "messages": message, "responses": response}[
            surface
        ]()
        if asked.get("stream"):
            return web.Response(body=stream, content_type="text/event-stream")
        return web.json_response(whole)

    app = web.Application()
    for path in ("/chat/completions", "/messages", "/responses"):
        app.router.add_post(path, decline)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
async def test_a_model_that_declines_is_seen_on_every_surface(serve: Serve, declining: str, kind: str) -> None:
    asked: Any = [user("How?")]
    upstream = {"kind": kind, "base_url": declining}
    async with serve("field", "filter", upstream=upstream) as served:
        openai = AsyncOpenAI(base_url=served.base, api_key="none", max_retries=0)
        claude = AsyncAnthropic(base_url=served.url, api_key="none", max_retries=0)
        async with openai, claude:
            for arm in ("field", "filter"):
                model = f"banditd/arm/{arm}"
                said = (await openai.chat.completions.create(model=model, messages=asked)).choices[0]
                assert said.message.refusal == NO or said.finish_reason == "content_filter"
                async for _ in await openai.chat.completions.create(model=model, messages=asked, stream=True):
                    pass
                await claude.messages.create(model=model, max_tokens=9, messages=asked)
                async for _ in await claude.messages.create(model=model, max_tokens=9, messages=asked, stream=True):
                    pass
                if kind == "openai":
                    await openai.responses.create(model=model, input="How?")
                    async for _ in await openai.responses.create(model=model, input="How?", stream=True):
                        pass
        rows = await settled(served)
        assert len(rows) == (12 if kind == "openai" else 8)
        assert all(row["request"]["refusal"] is True for row in rows)
        assert {row["request"]["output_tokens"] for row in rows} == {6}
        assert all(row["request"]["output_chars"] == len(NO) or row["arm"] == "filter" for row in rows)
        text = served.daemon.metrics.render().decode()
        assert f'banditd_answers_total{{arm="field",outcome="refused",policy="default"}} {len(rows) / 2}' in text


async def test_a_healthy_answer_is_no_refusal(serve: Serve) -> None:
    async with serve("ok") as served, AsyncOpenAI(base_url=served.base, api_key="none") as ai:
        asked: Any = [user("How?")]
        await ai.chat.completions.create(model="banditd/auto", messages=asked)
        [row] = await settled(served)
        assert row["request"]["refusal"] is False
        assert row["usage"]["refusal"] is None  # nothing was stated


# ---------------------------------------------------------------- regenerations


@pytest.fixture
async def talk(faulty: Any, database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Talk]:
    monkeypatch.setenv("UPSTREAM_KEY", KEY)
    arms = [
        {"arm": one, "upstream": "up", "upstream_model": one, "price": {"usd_per_mtok_in": 1.0}}
        for one in ("ok", "500")
    ]
    async with talking(faulty, database_url, arms, kind="fixed", options={"arm": "ok"}, breaker_errors=0) as opened:
        yield opened


ASKED = [user("What is in the box?")]
CHAT = {"X-OpenWebUI-Chat-Id": "chat-1"}


def before(row: Any) -> Any:
    return row["request"]["regenerated_from"]


async def test_the_same_conversation_in_the_same_session_is_a_regeneration(talk: Talk) -> None:
    first = await talk.turn(ASKED, headers=CHAT)
    title = await talk.turn([user("A title for this chat?")], headers=CHAT)
    again = await talk.turn(ASKED, headers=CHAT)
    third = await talk.turn(ASKED, headers=CHAT)
    further = await talk.turn([*ASKED, answer("42"), user("And now?")], headers=CHAT)
    other = await talk.turn(ASKED, headers={"X-OpenWebUI-Chat-Id": "chat-2"})
    found = [before(row) for row in (first, title, again, third, further, other)]
    assert found == [None, None, first["decision_id"], again["decision_id"], None, None]
    shown = await talk.served.decision(first["decision_id"])
    assert shown["request"]["regenerated"] is True
    assert shown["rewards"] == []  # it is only logged


async def test_a_program_that_asks_the_same_without_naming_a_session_regenerates_nothing(talk: Talk) -> None:
    for more in ({}, {"prompt_cache_key": "app"}, {"user": "me"}):
        assert [before(await talk.turn(ASKED, **more)) for _ in range(2)] == [None, None]


async def test_a_call_that_failed_is_asked_again_for_its_own_reason(talk: Talk) -> None:
    async with AsyncOpenAI(base_url=talk.served.base, api_key="none", max_retries=0) as ai:
        messages: Any = ASKED
        with pytest.raises(APIError):
            await ai.chat.completions.create(model="banditd/arm/500", messages=messages, extra_headers=CHAT)
    assert before(await talk.turn(ASKED, headers=CHAT)) is None


async def test_what_the_caller_says_is_taken_at_its_word(talk: Talk) -> None:
    first = await talk.turn(ASKED)
    by_body = await talk.turn([user("Other words?")], banditd={"regenerated_from": first["decision_id"]})
    header = {"x-banditd-regenerated-from": f"chatcmpl-{first['decision_id']}"}
    by_header = await talk.turn(ASKED, headers=header)
    better = await talk.turn(ASKED, headers={"x-banditd-escalated-from": first["decision_id"]})
    assert before(by_body) == before(by_header) == first["decision_id"]
    assert better["request"]["escalated_from"] == first["decision_id"]
    shown = (await talk.served.decision(first["decision_id"]))["request"]
    assert (shown["regenerated"], shown["escalated_to"]) == (True, better["decision_id"])
