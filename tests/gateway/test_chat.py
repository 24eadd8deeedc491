"""The gateway as OpenAI's own client sees it: whole answers, streams, names, options, errors in its form."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import openai
import pytest
from bench.faulty.app import Faulty
from bench.faulty.shapes import TEXT
from openai import AsyncOpenAI

from tests.gateway.conftest import Serve, Served, arm

ASKED: Any = [{"role": "user", "content": "Say hello."}]


def client(served: Served, **more: Any) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=served.base, api_key="none", max_retries=0, **more)


async def test_one_line_of_an_application_changes(serve: Serve, faulty: Faulty) -> None:
    async with serve("ok") as served, client(served) as ai:
        answer = await ai.chat.completions.create(model="banditd/auto", messages=ASKED)
        assert answer.choices[0].message.content == TEXT
        assert (answer.id, answer.model, answer.usage.prompt_tokens) == ("chatcmpl-faulty", "ok", 11)  # type: ignore[union-attr]
        raw = await ai.chat.completions.with_raw_response.create(model="banditd/auto", messages=ASKED)
        decision = await served.decision(raw.headers["x-banditd-decision-id"])
        assert raw.headers["x-banditd-arm"] == decision["arm"] == "ok"
        usage = decision["usage"]
        assert (usage["input_tokens"], usage["output_tokens"], usage["cached_input_tokens"]) == (11, 5, 3)
        assert usage["finish_reason"] == "stop"
        assert usage["cost_usd"] == pytest.approx((11 * 100 + 5 * 1000) / 1e6)
    assert faulty.calls[0].body == {"model": "ok", "messages": ASKED}


@pytest.mark.parametrize("usage", [None, False, True])
async def test_a_stream_is_passed_on_as_it_is(serve: Serve, faulty: Faulty, usage: bool | None) -> None:
    more: Any = {} if usage is None else {"stream_options": {"include_usage": usage}}
    async with serve("ok") as served, client(served) as ai:
        stream = await ai.chat.completions.create(model="banditd/auto", messages=ASKED, stream=True, **more)
        chunks = [chunk async for chunk in stream]
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == TEXT
        assert [chunk.usage is not None for chunk in chunks] == [False] * (len(chunks) - 1) + [bool(usage)]
        decision = await served.decision(stream.response.headers["x-banditd-decision-id"])
    assert faulty.calls[0].body["stream_options"] == {"include_usage": True}
    assert decision["usage"]["output_tokens"] == 5
