"""Any arm serves either form: chats by Anthropic's upstreams and messages by OpenAI's, whole, streamed and broken."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anthropic
import openai
import pytest
from anthropic import AsyncAnthropic
from bench.faulty.app import Faulty
from bench.faulty.faults import FAULTS
from bench.faulty.shapes import TEXT
from openai import AsyncOpenAI
from tests.gateway.conftest import Serve, Served, arm
from tests.gateway.test_faults import STATUS, each, hung_up, settled
from tests.gateway.test_faults import read as read_chat
from tests.gateway.test_surfaces import ASKED, ERRORS, Read, messages

HEALTHY = ["ok", "ok-crlf", "ok-split", "ok-joined", "ok-comments", "ok-reasoning", "ok-empty", "ok-no-choices",
           "ok-no-usage", "ok-odd-usage", "ok-tools", "ok-gzip"]  # fmt: skip
TOOLS: Any = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]


@asynccontextmanager
async def chats(served: Served) -> AsyncIterator[Read]:
    async with AsyncOpenAI(base_url=served.base, api_key="none", max_retries=0) as ai:

        async def read(model: str = "banditd/auto", *, stream: bool = True) -> str:
            return await read_chat(ai, model, stream=stream)

        yield read


CROSSED: Any = pytest.mark.parametrize(
    ("kind", "surface"), [("openai", messages), ("anthropic", chats)], ids=["messages", "chat"]
)


@CROSSED
async def test_a_lone_arm_that_fails_is_always_an_error(
    serve: Serve, faulty: Faulty, kind: str, surface: Any
) -> None:
    broken = [name for name, fault in FAULTS.items() if fault.ending == "error"]
    broken += ["ok-no-done"] if kind == "anthropic" else []
    arms = [arm(name) for name in broken]
    up = {"kind": kind}
    async with serve(*arms, short_clocks=True, upstream=up, policy={"breaker_errors": 0}) as served:
        async with surface(served) as read:

            async def fails(name: str, stream: bool) -> None:
                with pytest.raises(ERRORS) as raised:
                    await read(f"banditd/arm/{name}", stream=stream)
                status = getattr(raised.value, "status_code", 200)
                if status != 200:
                    assert status == STATUS.get(name, status), name
                else:
                    assert stream and name not in STATUS, name

            both = [(name, stream) for name in broken for stream in (True, False)]
            await each(fails, [one for one in both if one != ("ok-no-done", False)])
        await hung_up(faulty)
        rows = await settled(served)
    assert all(row["usage"]["error"] for row in rows)


@CROSSED
async def test_a_healthy_answer_is_whole(serve: Serve, kind: str, surface: Any) -> None:
    names = [*HEALTHY, *(["ok-no-done"] if kind == "openai" else [])]
    async with serve(*names, upstream={"kind": kind}) as served, surface(served) as read:
        for name in names:
            text = await read(f"banditd/arm/{name}")
            assert await read(f"banditd/arm/{name}", stream=False) == TEXT
            assert text == ("" if name in {"ok-empty", "ok-tools"} else TEXT), name
        rows = await settled(served)
    assert not [row for row in rows if row["usage"]["error"]]
    for row in rows:
        usage = row["usage"]
        if row["arm"] not in {"ok-no-usage", "ok-no-done"}:
            assert (usage["input_tokens"], usage["output_tokens"], usage["cached_input_tokens"]) == (11, 5, 3)


async def test_an_agent_of_anthropics_is_served_by_a_chat(serve: Serve, faulty: Faulty) -> None:
    tools: Any = [{"name": "weather", "description": "d", "input_schema": {"type": "object"}}]
    said: Any = [
        *ASKED,
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "weather", "input": {"a": 1}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "sunny"}]},
    ]
    low = arm("ok-tools", params={"reasoning_effort": "low"}, rename_params={"max_tokens": "most"})
    async with serve(low) as served, AsyncAnthropic(base_url=served.url, api_key="none", max_retries=0) as ai:
        asked: Any = {
            "model": "banditd/auto",
            "max_tokens": 9,
            "messages": said,
            "tools": tools,
            "system": "be brief",
        }
        async with ai.messages.stream(**asked) as stream:
            message = await stream.get_final_message()
    calls: Any = message.content
    assert [(call.id, call.name, call.input) for call in calls] == [
        ("call_a", "weather", {"city": "Bern"}),
        ("call_b", "time", {"zone": "CET"}),
    ]
    assert message.stop_reason == "tool_use"
    usage = message.usage
    assert (usage.input_tokens, usage.cache_read_input_tokens, usage.output_tokens) == (8, 3, 5)
    body = faulty.calls[0].body
    assert (body["model"], body["most"], body["reasoning_effort"]) == ("ok-tools", 9, "low")
    assert [message["role"] for message in body["messages"]] == ["system", "user", "assistant", "tool"]
    assert not [name for name in faulty.calls[0].headers if name.startswith("anthropic-")]


@pytest.mark.parametrize("usage", [None, False, True])
async def test_a_chat_is_served_by_messages(serve: Serve, faulty: Faulty, usage: bool | None) -> None:
    more: Any = {} if usage is None else {"stream_options": {"include_usage": usage}}
    async with (
        serve("ok-tools", upstream={"kind": "anthropic"}) as served,
        AsyncOpenAI(base_url=served.base, api_key="none", max_retries=0) as ai,
    ):
        stream = await ai.chat.completions.create(
            model="banditd/auto", messages=ASKED, tools=TOOLS, stream=True, **more
        )
        chunks = [chunk async for chunk in stream]
    assert [chunk.usage is not None for chunk in chunks] == [False] * (len(chunks) - 1) + [bool(usage)]
    calls: dict[int, list[str]] = {}
    for chunk in chunks:
        for call in (chunk.choices[0].delta.tool_calls or []) if chunk.choices else []:
            kept = calls.setdefault(call.index, [call.id or "", "", ""])
            kept[1] += (call.function and call.function.name) or ""
            kept[2] += (call.function and call.function.arguments) or ""
    told = [(kept[0], kept[1], json.loads(kept[2])) for _, kept in sorted(calls.items())]
    assert told == [("call_a", "weather", {"city": "Bern"}), ("call_b", "time", {"zone": "CET"})]
    body = faulty.calls[0].body
    assert (body["max_tokens"], "stream_options" in body) == (8192, False)
    assert faulty.calls[0].headers["anthropic-version"] == "2023-06-01"


async def test_what_cannot_be_translated_goes_to_those_who_speak_it(serve: Serve, faulty: Faulty) -> None:
    document: Any = [{"role": "user", "content": [{"type": "document", "source": {"type": "text", "data": "x"}}]}]
    other = {"claude": {"kind": "anthropic", "base_url": faulty.url}}
    mixed = ("ok", arm("ok@claude", upstream="claude"))
    async with serve(*mixed, upstreams=other) as served:
        async with AsyncAnthropic(base_url=served.url, api_key="none", max_retries=0) as ai:
            explained: Any = {"banditd": {"explain": True}}
            asked: Any = {"max_tokens": 9, "messages": document, "extra_body": explained}
            answer: Any = await ai.messages.create(model="banditd/auto", **asked)
            assert answer.model_extra["banditd"]["exclusions"] == {"ok": "untranslatable:document"}
            with pytest.raises(anthropic.BadRequestError, match="ok: untranslatable:document"):
                await ai.messages.create(model="banditd/arm/ok", **asked)
        async with AsyncOpenAI(base_url=served.base, api_key="none", max_retries=0) as chat:
            assert await chat.chat.completions.create(model="banditd/auto", messages=ASKED, n=2)
            with pytest.raises(openai.BadRequestError, match="ok@claude: untranslatable:n"):
                await chat.chat.completions.create(model="banditd/arm/ok@claude", messages=ASKED, n=2)
    assert faulty.models_called() == ["ok@claude", "ok"]


async def test_a_fallback_crosses_forms(serve: Serve, faulty: Faulty) -> None:
    other = {"claude": {"kind": "anthropic", "base_url": faulty.url}}
    async with serve("role-silent", arm("ok", upstream="claude"), upstreams=other, short_clocks=True) as served:
        async with messages(served) as read:
            assert await read() == TEXT
        async with chats(served) as read:
            assert await read() == TEXT


async def test_a_previous_response_keeps_its_arm(serve: Serve, faulty: Faulty) -> None:
    policy = {"kind": "uniform", "options": {}}
    async with (
        serve("ok", "ok@other", "500@first", policy=policy) as served,
        AsyncOpenAI(base_url=served.base, api_key="none", max_retries=0) as ai,
    ):

        async def arm_of(**more: Any) -> str:
            raw = await ai.responses.with_raw_response.create(**{"model": "banditd/auto", "input": "hi", **more})
            return str(raw.headers["x-banditd-arm"])

        # All responses of the upstream have one id: the newest one counts.
        for chosen in ("ok", "ok@other", "ok"):
            assert await arm_of(model=f"banditd/arm/{chosen}") == chosen
            for _ in range(3):
                assert await arm_of(previous_response_id="resp_faulty") == chosen
        with pytest.raises(openai.BadRequestError) as raised:
            await arm_of(previous_response_id="resp_nobody")
        assert raised.value.code == "previous_response_not_found"
        assert await arm_of(model="banditd/arm/ok", previous_response_id="resp_nobody") == "ok"
