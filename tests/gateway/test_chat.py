"""The gateway as OpenAI's own client sees it: whole answers, streams, names, options, errors in its form."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import io
import json
from typing import Any

import aiohttp
import openai
import pytest
from bench.faulty.app import Faulty
from bench.faulty.shapes import TEXT
from openai import AsyncOpenAI
from tests.gateway.conftest import Serve, Served, arm
from tests.gateway.test_faults import settled

from banditd.storage.engine import Database

ASKED: Any = [{"role": "user", "content": "Say hello."}]


def client(served: Served, **more: Any) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=served.base, api_key="none", max_retries=0, **more)


async def test_what_a_decision_took_is_told_in_parts_of_a_millisecond(serve: Serve) -> None:
    async with serve("ok") as served, client(served) as ai:
        create = ai.chat.completions.with_raw_response.create
        raw = [await create(model="banditd/auto", messages=ASKED) for _ in range(3)]
        assert any(float(one.headers["x-banditd-overhead-ms"]) % 1.0 for one in raw)


async def test_one_line_of_an_application_changes(serve: Serve, faulty: Faulty) -> None:
    async with serve("ok") as served, client(served) as ai:
        answer = await ai.chat.completions.create(model="banditd/auto", messages=ASKED)
        assert answer.choices[0].message.content == TEXT
        assert (answer.id, answer.model, answer.usage.prompt_tokens) == ("chatcmpl-faulty", "ok", 11)  # type: ignore[union-attr]
        raw = await ai.chat.completions.with_raw_response.create(model="banditd/auto", messages=ASKED)
        decision = next(
            one for one in await settled(served) if one["decision_id"] == raw.headers["x-banditd-decision-id"]
        )
        assert raw.headers["x-banditd-arm"] == decision["arm"] == "ok"
        assert float(raw.headers["x-banditd-overhead-ms"]) > 0
        usage = decision["usage"]
        assert (usage["input_tokens"], usage["output_tokens"], usage["cached_input_tokens"]) == (11, 5, 3)
        assert usage["finish_reason"] == "stop"
        assert usage["cost_usd"] == pytest.approx((11 * 100 + 5 * 1000) / 1e6)
    assert faulty.calls[0].body == {"model": "ok", "messages": ASKED}


@pytest.mark.parametrize("stream", [False, True])
async def test_one_commit_stands_before_a_call_and_its_settlement_behind_it(
    serve: Serve, faulty: Faulty, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    happened: list[str] = []
    commit = Database._commit

    def noted(self: Database, group: Any) -> Any:
        answers = commit(self, group)
        written = [item.handler.__qualname__ for item in group]
        happened.extend(name for name in written if name in {"SqlDecisionLog._append", "UsageLog._report"})
        return answers

    class Book(list[Any]):
        def append(self, call: Any) -> None:
            happened.append("call")
            super().append(call)

    monkeypatch.setattr(Database, "_commit", noted)
    faulty.calls = Book()
    async with serve("401@a", "ok") as served, client(served) as ai:
        answer = await ai.chat.completions.create(model="banditd/auto", messages=ASKED, stream=stream)
        if stream:
            async for _ in answer:
                pass
        await settled(served)
    assert happened == ["SqlDecisionLog._append", "call", "call", "UsageLog._report"]


@pytest.mark.parametrize("usage", [None, False, True])
async def test_a_stream_is_passed_on_as_it_is(serve: Serve, faulty: Faulty, usage: bool | None) -> None:
    more: Any = {} if usage is None else {"stream_options": {"include_usage": usage}}
    async with serve("ok") as served, client(served) as ai:
        stream = await ai.chat.completions.create(model="banditd/auto", messages=ASKED, stream=True, **more)
        chunks = [chunk async for chunk in stream]
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == TEXT
        assert [chunk.usage is not None for chunk in chunks] == [False] * (len(chunks) - 1) + [bool(usage)]
        [decision] = await settled(served)
    assert faulty.calls[0].body["stream_options"] == {"include_usage": True}
    assert decision["usage"]["output_tokens"] == 5


async def test_the_answer_says_what_was_decided_where_it_is_asked(serve: Serve) -> None:
    async with serve("500@a", "ok") as served, client(served) as ai:
        explained: Any = {"banditd": {"explain": True}}
        answer = await ai.chat.completions.create(model="banditd/auto", messages=ASKED, extra_body=explained)
        said = answer.model_extra["banditd"]  # type: ignore[index]
        assert (said["arm"], said["served_arm"]) == ("500@a", "ok")
        assert [one["error"] for one in said["attempts"]] == ["server", "server", None]
        assert {one["arm"] for one in said["arms"]} == {"500@a", "ok"}
        stream = await ai.chat.completions.create(
            model="banditd/auto", messages=ASKED, extra_body=explained, stream=True
        )
        chunks = [chunk async for chunk in stream]
        assert chunks[-1].model_extra["banditd"]["served_arm"] == "ok"  # type: ignore[index]
        assert [chunk for chunk in chunks[:-1] if "banditd" in (chunk.model_extra or {})] == []


# ---------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("model", "policy", "served_arm", "reason"),
    [
        ("banditd/auto", "default", "ok", "policy"),
        ("banditd/default", "default", "ok", "policy"),
        ("banditd/auto:economy", "default", "ok", "policy"),
        ("banditd/default:economy", "default", "ok", "policy"),
        ("banditd/arm/ok-slow", "default", "ok-slow", "pinned"),
        ("banditd/default/arm/ok-slow", "default", "ok-slow", "pinned"),
        ("banditd/team/a:b", "team/a:b", "ok-tools", "policy"),
        ("banditd/team/a:b:economy", "team/a:b", "ok-tools", "policy"),
        ("banditd/team/a:b/arm/ok-tools", "team/a:b", "ok-tools", "pinned"),
        ("gpt-4o", "default", "ok", "policy"),
        ("claude-banditd-auto", "team/a:b", "ok-tools", "policy"),
    ],
)
async def test_names_of_models(
    serve: Serve, faulty: Faulty, model: str, policy: str, served_arm: str, reason: str
) -> None:
    aliases = {"gpt-4o": "banditd/auto", "claude-banditd-auto": "banditd/team/a:b"}
    other = {"arms": [arm("ok-tools")], "kind": "uniform"}
    two = serve("ok", "ok-slow", gateway={"aliases": aliases}, more_policies={"team/a:b": other})
    async with two as served, client(served) as ai:
        raw = await ai.chat.completions.with_raw_response.create(model=model, messages=ASKED)
        decision = await served.decision(raw.headers["x-banditd-decision-id"])
        listed = [entry.id async for entry in ai.models.list()]
    assert (decision["policy"], decision["arm"], decision["reason"]) == (policy, served_arm, reason)
    if reason == "pinned":
        assert decision["propensity"] == 1.0
    assert {"banditd/auto", "banditd/default", "banditd/arm/ok-slow", "banditd/team/a:b", *aliases} <= set(listed)


@pytest.mark.parametrize(
    "model",
    ["gpt-4", "banditd/", "banditd/nobody", "banditd/arm/nobody", "banditd/auto:", "auto", "banditd/arm/", "x" * 200],
)
async def test_an_unknown_model_is_not_found(serve: Serve, faulty: Faulty, model: str) -> None:
    async with serve("ok") as served, client(served) as ai:
        with pytest.raises(openai.NotFoundError) as raised:
            await ai.chat.completions.create(model=model, messages=ASKED)
        assert raised.value.code == "model_not_found"
        assert "banditd/auto" in raised.value.message
        with pytest.raises(openai.BadRequestError, match="no profile nothing; there are quality, balanced, economy"):
            await ai.chat.completions.create(model="banditd/auto:nothing", messages=ASKED)
    assert faulty.calls == []


# ---------------------------------------------------------------- options


async def test_options_come_from_the_body_before_the_headers_before_the_name(serve: Serve) -> None:
    async with serve("ok", "ok-long", policy={"kind": "uniform", "options": {}}) as served, client(served) as ai:

        async def decided(body: dict[str, Any] | None = None, **headers: str) -> dict[str, Any]:
            raw = await ai.chat.completions.with_raw_response.create(
                model="banditd/auto:economy",
                messages=ASKED,
                extra_body={} if body is None else {"banditd": body},
                extra_headers={"x-banditd-" + name.replace("_", "-"): value for name, value in headers.items()},
            )
            return await served.decision(raw.headers["x-banditd-decision-id"])

        assert (await decided(candidates="ok-long"))["arm"] == "ok-long"
        assert (await decided({"candidates": ["ok"]}, candidates="ok-long"))["arm"] == "ok"
        assert (await decided(excluded_arms="ok , ok"))["arm"] == "ok-long"
        tagged = await decided(
            {"tags": {"team": "red"}, "session_id": "s1"}, tag_team="blue", tag_task="title", session="s2"
        )
        assert (tagged["tags"], tagged["session_id"]) == ({"team": "red", "task": "title"}, "s1")
        assert (await decided(session="s2"))["session_id"] == "s2"
        weights = [(await decided())["cost_weight"], (await decided(cost_weight="0.7"))["cost_weight"]]
        weights.append((await decided({"cost_weight": 0.2}, cost_weight="0.7"))["cost_weight"])
        assert weights == [0.3, 0.7, 0.2]


@pytest.mark.parametrize(
    ("body", "headers", "says"),
    [
        ({"max_cost": 1}, {}, "did you mean banditd.max_cost_usd?"),
        ({"qualty_floor": 0.5}, {}, "did you mean banditd.quality_floor?"),
        ({"dry_run": True}, {}, "POST /v1/route"),
        ({"max_cost_usd": "much"}, {}, "banditd.max_cost_usd"),
        ({"quality_floor": 2}, {}, "less than or equal to 1"),
        ([], {}, "must be an object"),
        (None, {"x-banditd-max-cost": "1"}, "did you mean x-banditd-max-cost-usd?"),
        (None, {"x-banditd-sesion": "1"}, "did you mean x-banditd-session?"),
        (None, {"x-banditd-max-cost-usd": "much"}, "x-banditd-max-cost-usd"),
        (None, {"x-banditd-candidates": "nobody"}, "no such arm"),
        ({"profile": "lavish"}, {}, "lavish"),
    ],
)
async def test_what_is_unknown_is_refused_by_name(
    serve: Serve, faulty: Faulty, body: Any, headers: dict[str, str], says: str
) -> None:
    async with serve("ok") as served, client(served) as ai:
        with pytest.raises(openai.APIStatusError) as raised:
            await ai.chat.completions.create(
                model="banditd/auto", messages=ASKED, extra_body={"banditd": body}, extra_headers=headers
            )
    assert raised.value.status_code in {400, 404}
    assert says in raised.value.message
    assert faulty.calls == []


@pytest.mark.parametrize("body", [{"candidates": ["ok"]}, {"policy": "default"}])
async def test_a_pinned_arm_leaves_nothing_to_choose(serve: Serve, body: dict[str, Any]) -> None:
    async with serve("ok") as served, client(served) as ai:
        with pytest.raises(openai.BadRequestError, match="names the arm ok already"):
            await ai.chat.completions.create(model="banditd/arm/ok", messages=ASKED, extra_body={"banditd": body})


# ---------------------------------------------------------------- who may answer

PICTURE: Any = [
    {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}]}
]


@pytest.mark.parametrize(
    ("more", "needs"),
    [
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ({"messages": PICTURE}, "vision"),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}}}, "json_schema"),
        ({"logprobs": True}, "logprobs"),
        ({"n": 2}, "n"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]}, "audio"),
    ],
)
async def test_an_arm_must_be_able_to_do_what_is_asked(serve: Serve, more: dict[str, Any], needs: str) -> None:
    able = arm("ok@able", capabilities=[needs], onboarding_decisions=0)
    asked = {"messages": ASKED, **more}
    async with serve("ok") as unsaid, client(unsaid) as ai:  # nobody has said what arms can do
        assert await ai.chat.completions.create(model="banditd/auto", **asked)
    async with serve("ok", able) as served, client(served) as ai:
        plain = await ai.chat.completions.with_raw_response.create(model="banditd/auto", messages=ASKED)
        raw = await ai.chat.completions.with_raw_response.create(model="banditd/auto", **asked)
        assert (plain.headers["x-banditd-arm"], raw.headers["x-banditd-arm"]) == ("ok", "ok@able")


async def test_arms_without_an_upstream_are_for_route_alone(serve: Serve) -> None:
    lone = {"arm": "lone"}
    async with serve(lone, "ok") as served, client(served) as ai:
        answer = await ai.chat.completions.create(
            model="banditd/auto", messages=ASKED, extra_body={"banditd": {"explain": True}}
        )
        assert answer.model_extra["banditd"]["exclusions"] == {"lone": "no_upstream"}  # type: ignore[index]
        with pytest.raises(openai.BadRequestError, match="lone: no_upstream"):
            await ai.chat.completions.create(model="banditd/arm/lone", messages=ASKED)
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{served.base}/route", json={"input": "hello", "candidates": ["lone"]}) as routed,
        ):
            assert (await routed.json())["arm"] == "lone"


async def test_too_long_a_prompt_for_every_arm_says_so(serve: Serve) -> None:
    small = arm("ok", context_window_tokens=1)
    async with serve(small) as served, client(served) as ai:
        with pytest.raises(openai.BadRequestError) as raised:
            await ai.chat.completions.create(model="banditd/auto", messages=ASKED)
        assert raised.value.code == "context_length_exceeded"


async def test_what_the_upstream_gets_is_the_clients_body_and_the_arms_parameters(
    serve: Serve, faulty: Faulty
) -> None:
    low = arm(
        "ok", params={"reasoning_effort": "low", "temperature": None}, rename_params={"max_tokens": "max_output"}
    )
    asked = {"messages": ASKED, "temperature": 0.5, "max_tokens": 9, "unknown": {"x": [1, 2.5, None, "ä"]}}
    async with serve(low) as served, aiohttp.ClientSession() as session:
        body = {"model": "banditd/auto", "banditd": {"tags": {"a": "b"}}, **asked}
        async with session.post(f"{served.base}/chat/completions", json=body) as answer:
            assert answer.status == 200
    assert faulty.calls[0].body == {
        "model": "ok", "messages": ASKED, "unknown": asked["unknown"], "max_output": 9, "reasoning_effort": "low"
    }  # fmt: skip


# ---------------------------------------------------------------- errors in OpenAI's form


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        (b"", 400, None),
        (b"{", 400, None),
        (b"[]", 400, None),
        (b"\xff\xfe", 400, None),
        (b'{"model": "banditd/auto"}', 400, "messages"),
        (b'{"model": "banditd/auto", "messages": []}', 400, "messages"),
        (b'{"model": "banditd/auto", "messages": [1]}', 400, "messages.0"),
        (b'{"model": "banditd/auto", "messages": [{"role": "user", "content": 1}]}', 400, "messages.0.content"),
        (b'{"model": "banditd/auto", "messages": [{"content": "x"}]}', 400, "messages.0.role"),
        (b'{"messages": [{"role": "user", "content": "x"}]}', 400, "model"),
        (b'{"model": 1, "messages": [{"role": "user", "content": "x"}]}', 400, "model"),
        (b'{"model": "banditd/auto", "stream": "yes", "messages": [{"role": "user"}]}', 400, "stream"),
        (b'{"a":' * 5000, 400, None),
    ],
)
async def test_bad_bodies_get_openais_envelope(serve: Serve, body: bytes, status: int, param: str | None) -> None:
    async with serve("ok") as served, aiohttp.ClientSession() as session:
        headers = {"content-type": "application/json"}
        async with session.post(f"{served.base}/chat/completions", data=body, headers=headers) as answer:
            said = (await answer.json())["error"]
            assert (answer.status, said["param"]) == (status, param)
            assert said["message"]
            assert said["type"] == "invalid_request_error"


async def test_half_a_character_is_mended_and_a_message_of_nothing_is_a_query(serve: Serve) -> None:
    async with serve("ok") as served, aiohttp.ClientSession() as session:
        for content in ('"half \\ud83d"', '"nul \\u0000"', "null", '""', "[]", '[{"type": "image_url"}]'):
            body = f'{{"model": "banditd/auto", "messages": [{{"role": "user", "content": {content}}}]}}'
            headers = {"content-type": "application/json"}
            async with session.post(f"{served.base}/chat/completions", data=body, headers=headers) as answer:
                assert answer.status == 200, content


async def test_headers_that_are_no_utf_8_are_a_callers_text_too(serve: Serve) -> None:
    """And nobody else's query, decided in the same turn, hears of them."""
    body = json.dumps({"model": "banditd/auto", "messages": ASKED, "banditd": {"tags": {"empty": ""}}})

    def ask(port: int, header: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        with contextlib.closing(connection):
            connection.request(
                "POST", "/v1/chat/completions", body, {"Content-Type": "application/json", header: "caf\xe9"}
            )
            return connection.getresponse().status

    headers = (
        "X-OpenWebUI-Chat-Id",
        "x-banditd-session",
        "x-banditd-reference",
        "x-banditd-tag-team",
        "Accept-Language",
    )
    async with serve("ok") as served:
        port = int(served.url.rsplit(":", 1)[1])
        assert await asyncio.gather(*(asyncio.to_thread(ask, port, one) for one in headers * 2)) == [200] * 10


async def test_keys_and_limits_speak_openais_form_too(serve: Serve) -> None:
    import hashlib

    keys = [
        {"name": name, "sha256": hashlib.sha256(name.encode()).hexdigest(), "scopes": [scope]}
        for name, scope in (("chatter", "chat"), ("router", "route"), ("boss", "admin"))
    ]
    async with serve("ok", server={"api_keys": keys}, gateway={"max_body_bytes": 2048}) as served:
        for key, error, code in (
            ("nobody", openai.AuthenticationError, "invalid_api_key"),
            ("router", openai.PermissionDeniedError, "scope_missing"),
        ):
            async with AsyncOpenAI(base_url=served.base, api_key=key, max_retries=0) as ai:
                with pytest.raises(error) as raised:
                    await ai.chat.completions.create(model="banditd/auto", messages=ASKED)
                assert raised.value.code == code
        for key in ("chatter", "boss"):
            async with AsyncOpenAI(base_url=served.base, api_key=key, max_retries=0) as ai:
                assert await ai.chat.completions.create(model="banditd/auto", messages=ASKED)
                assert [entry.id async for entry in ai.models.list()]
                with pytest.raises(openai.APIStatusError) as large:
                    await ai.chat.completions.create(
                        model="banditd/auto", messages=[{"role": "user", "content": "x" * 4000}]
                    )
                assert (large.value.status_code, large.value.code) == (413, "request_too_large")


async def test_a_daemon_without_upstreams_says_that_its_gateway_is_off(serve: Serve, faulty: Faulty) -> None:
    async with serve("ok", gateway={"enabled": False}) as served, client(served) as ai:
        for call in (ai.chat.completions.create(model="banditd/auto", messages=ASKED), ai.models.list()):
            with pytest.raises(openai.NotFoundError, match="the gateway is off"):
                await call


async def test_a_budget_that_rejects_is_a_quota_and_is_not_asked_again(serve: Serve, faulty: Faulty) -> None:
    budget = {"name": "day", "usd": 0.001, "per": "day", "at_stop": "reject"}
    async with serve("ok", policy={"budgets": [budget]}) as served:
        async with AsyncOpenAI(base_url=served.base, api_key="none", max_retries=2) as ai:
            with pytest.raises(openai.RateLimitError) as raised:
                await ai.chat.completions.create(model="banditd/auto", messages=ASKED)
        assert (raised.value.code, raised.value.response.headers["x-should-retry"]) == ("insufficient_quota", "false")
        assert int(raised.value.response.headers["retry-after"]) > 0
    assert faulty.calls == []


async def test_json_of_an_answer_is_not_touched(serve: Serve, faulty: Faulty) -> None:
    async with serve("ok") as served, aiohttp.ClientSession() as session:
        body = {"model": "banditd/auto", "messages": ASKED}
        async with session.post(f"{served.base}/chat/completions", json=body) as answer:
            assert await answer.read() == bytes(faulty.calls[0].sent)
            assert json.loads(bytes(faulty.calls[0].sent))
            assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("whole", [True, False])
async def test_an_answer_is_rewarded_by_its_id_from_the_moment_that_it_is_seen(serve: Serve, whole: bool) -> None:
    async with serve("ok") as served, client(served) as ai, aiohttp.ClientSession() as session:

        async def reward(thumb: str) -> dict[str, Any]:
            body = {"reference": "chatcmpl-faulty", "thumb": thumb}
            async with session.post(f"{served.base}/rewards", json=body) as answer:
                assert answer.status == 200, await answer.text()
                return dict(await answer.json())

        if whole:
            await ai.chat.completions.create(model="banditd/auto", messages=ASKED)
            first = await reward("up")
        else:
            stream = await ai.chat.completions.create(model="banditd/auto", messages=ASKED, stream=True)
            async for _ in stream:
                break
            first = await reward("up")
            async for _ in stream:
                pass
        [decision] = await settled(served)
        again = await reward("up")
        assert first["decision_id"] == again["decision_id"] == decision["decision_id"]
        assert again["duplicate"]


async def test_a_text_longer_than_routing_takes_is_the_upstreams_to_judge(serve: Serve, faulty: Faulty) -> None:
    messages: Any = [{"role": "user", "content": "a\0" + "a" * 1_000_000}]
    async with serve("ok") as served, client(served) as ai:
        answer = await ai.chat.completions.create(model="banditd/auto", messages=messages)
        assert answer.choices[0].message.content == TEXT
        [decision] = await settled(served)
        assert decision["degraded"] is None
    assert [one.body["messages"] for one in faulty.calls] == [messages]


async def test_a_large_request_reaches_its_upstream_whole(serve: Serve, faulty: Faulty) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A/" * 3_000_000}}
    messages: Any = [{"role": "user", "content": [{"type": "text", "text": "ก\n\"😀' " * 20_000}, image]}]
    async with serve("ok") as served, client(served) as ai:
        answer = await ai.chat.completions.create(model="banditd/auto", messages=messages)
        assert answer.choices[0].message.content == TEXT
        # The client itself would take half a minute over so many messages.
        body = io.BytesIO(json.dumps({"model": "banditd/auto", "messages": ASKED * 60_000}).encode())
        async with (
            aiohttp.ClientSession() as web,
            web.post(
                f"{served.base}/chat/completions", data=body, headers={"content-type": "application/json"}
            ) as no,
        ):
            assert no.status == 400
            assert "50000 fields" in await no.text()
    assert [one.body for one in faulty.calls] == [{"model": "ok", "messages": messages}]
