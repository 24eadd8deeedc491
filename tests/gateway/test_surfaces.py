"""Messages and responses as the official clients see them: whole answers, every fault, errors in their form."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import anthropic
import openai
import pytest
from anthropic import AsyncAnthropic
from bench.faulty.app import Faulty
from bench.faulty.faults import FAULTS
from bench.faulty.shapes import TEXT
from openai import AsyncOpenAI
from tests.gateway.conftest import KEY, Serve, Served, arm
from tests.gateway.test_faults import STATUS, each, hung_up, settled

ASKED: Any = [{"role": "user", "content": "Say hello."}]
# Chats alone may end without a goodbye.
BROKEN = [name for name, fault in FAULTS.items() if fault.ending == "error"] + ["ok-no-done"]
HEALTHY = [
    name
    for name, fault in FAULTS.items()
    if fault.ending == "answer" and name not in {"ok-large", "ok-late", "ok-no-done"}
]
Read = Callable[..., Awaitable[str]]
ERRORS = (anthropic.APIError, openai.APIError)


@asynccontextmanager
async def messages(served: Served) -> AsyncIterator[Read]:
    async with AsyncAnthropic(base_url=served.url, api_key="none", max_retries=0) as ai:

        async def read(model: str = "banditd/auto", *, stream: bool = True, **more: Any) -> str:
            asked = {"model": model, "max_tokens": 99, "messages": ASKED, **more}
            if not stream:
                whole = await ai.messages.create(**asked)
                return "".join(block.text for block in whole.content if block.type == "text")
            text = ""
            async for event in await ai.messages.create(stream=True, **asked):
                if event.type == "content_block_delta" and event.delta.type == "text_delta":
                    text += event.delta.text
            return text

        yield read


@asynccontextmanager
async def responses(served: Served) -> AsyncIterator[Read]:
    async with AsyncOpenAI(base_url=served.base, api_key="none", max_retries=0) as ai:

        async def read(model: str = "banditd/auto", *, stream: bool = True, **more: Any) -> str:
            if not stream:
                return (await ai.responses.create(model=model, input="Say hello.", **more)).output_text
            text = ""
            async for event in await ai.responses.create(model=model, input="Say hello.", stream=True, **more):
                text += event.delta if event.type == "response.output_text.delta" else ""
            return text

        yield read


SURFACES: Any = pytest.mark.parametrize(
    ("kind", "surface"), [("anthropic", messages), ("openai", responses)], ids=["messages", "responses"]
)


# ---------------------------------------------------------------- every fault


@SURFACES
async def test_a_lone_arm_that_fails_is_always_an_error(
    serve: Serve, faulty: Faulty, kind: str, surface: Any
) -> None:
    arms = [arm(name) for name in BROKEN]
    up = {"kind": kind}
    async with serve(*arms, short_clocks=True, upstream=up, policy={"breaker_errors": 0}) as served:
        async with surface(served) as read:

            async def fails(name: str, stream: bool) -> None:
                with pytest.raises(ERRORS) as raised:
                    await read(f"banditd/arm/{name}", stream=stream)
                status = getattr(raised.value, "status_code", 200)
                if status != 200:
                    assert status == STATUS.get(name, status), name
                    headers = raised.value.response.headers  # type: ignore[attr-defined]
                    assert headers["x-should-retry"] in {"true", "false"}, name
                else:
                    assert stream and name not in STATUS, name

            both = [(name, stream) for name in BROKEN for stream in (True, False)]
            await each(fails, [one for one in both if one != ("ok-no-done", False)])
        await hung_up(faulty)
        rows = await settled(served)
    assert len(rows) == 2 * len(BROKEN) - 1
    assert all(row["usage"]["error"] for row in rows)


@SURFACES
@pytest.mark.parametrize("name", HEALTHY)
async def test_a_healthy_answer_is_whole_and_comes_byte_for_byte(
    serve: Serve, faulty: Faulty, kind: str, surface: Any, name: str
) -> None:
    async with serve(name, upstream={"kind": kind}) as served:
        async with surface(served) as read:
            text = await read()
            assert await read(stream=False) == TEXT
        if name not in {"ok-long", "ok-slow", "ok-empty", "ok-tools"}:
            assert text == TEXT
        path = "messages" if kind == "anthropic" else "responses"
        body = {"model": "banditd/auto", "stream": True, "max_tokens": 9, "messages": ASKED, "input": "hello"}
        async with aiohttp.ClientSession() as session, session.post(f"{served.base}/{path}", json=body) as answer:
            assert await answer.read() == bytes(faulty.calls[-1].sent)
        rows = await settled(served)
    for row in rows:
        usage = row["usage"]
        told = (usage["error"], usage["input_tokens"], usage["output_tokens"], usage["cached_input_tokens"])
        if name != "ok-no-usage":
            assert told == (None, 11, 5, 3)
        else:
            assert usage["error"] is None
            assert usage["output_tokens"] == 5


@SURFACES
@pytest.mark.parametrize("name", [name for name in STATUS if name not in {"400", "400-policy"}])
async def test_the_next_arm_is_asked_before_the_commit_point(
    serve: Serve, faulty: Faulty, kind: str, surface: Any, name: str
) -> None:
    first, second = arm(name, context_window_tokens=1000), arm("ok", context_window_tokens=2000)
    async with serve(first, second, short_clocks=True, upstream={"kind": kind}) as served, surface(served) as read:
        assert await read() == TEXT
        [row] = await settled(served)
    assert (row["usage"]["served_arm"], row["usage"]["error"]) == ("ok", None)


@SURFACES
@pytest.mark.parametrize("name", ["eof", "cut", "stall", "malformed", "error-second", "done-early"])
async def test_what_broke_off_is_charged_for_what_came(
    serve: Serve, faulty: Faulty, kind: str, surface: Any, name: str
) -> None:
    async with serve(name, "ok", short_clocks=True, upstream={"kind": kind}) as served, surface(served) as read:
        with pytest.raises(ERRORS):
            await read()
        [row] = await settled(served)
    assert faulty.models_called() == [name]
    assert row["usage"]["output_tokens"] >= 2
    assert row["usage"]["cost_usd"] > 0
    if kind == "anthropic":  # it says at its start what it has read
        assert (row["usage"]["input_tokens"], row["usage"]["cached_input_tokens"]) == (11, 3)


@SURFACES
async def test_keys_and_headers_go_where_they_belong(serve: Serve, faulty: Faulty, kind: str, surface: Any) -> None:
    async with serve("ok", upstream={"kind": kind}) as served, surface(served) as read:
        betas = "context-1m-2025-08-07,  interleaved-thinking-2025-05-14"
        await read(
            extra_headers={"anthropic-beta": betas.strip(), "anthropic-version": "2099-01-01", "cookie": "a=b"}
        )
    headers = faulty.calls[0].headers
    assert "cookie" not in headers
    if kind == "anthropic":
        assert (headers["x-api-key"], headers["anthropic-version"]) == (KEY, "2099-01-01")
        assert headers["anthropic-beta"] == betas
        assert "authorization" not in headers
    else:
        assert headers["authorization"] == f"Bearer {KEY}"
        assert not [name for name in headers if name.startswith("anthropic-")]


# ---------------------------------------------------------------- messages


async def test_a_message_is_metered_and_its_body_is_the_clients(serve: Serve, faulty: Faulty) -> None:
    asked: Any = {
        "max_tokens": 7,
        "messages": ASKED,
        "system": [{"type": "text", "text": "x"}],
        "unknown": {"a": [1]},
    }
    low = arm("ok", params={"temperature": 0.1}, rename_params={"max_tokens": "most"})
    async with serve(low, upstream={"kind": "anthropic"}) as served, aiohttp.ClientSession() as session:
        body = {"model": "banditd/auto", "banditd": {"tags": {"a": "b"}}, **asked}
        async with session.post(f"{served.base}/messages", json=body) as answer:
            assert await answer.read() == bytes(faulty.calls[0].sent)
            decision_id = answer.headers["x-banditd-decision-id"]
        [decision] = await settled(served)
        assert decision["decision_id"] == decision_id
    del asked["max_tokens"]
    assert faulty.calls[0].body == {"model": "ok", "most": 7, "temperature": 0.1, **asked}
    assert faulty.calls[0].headers["anthropic-version"] == "2023-06-01"
    assert (decision["usage"]["finish_reason"], decision["tags"]) == ("end_turn", {"a": "b"})


async def test_messages_can_be_explained(serve: Serve) -> None:
    async with (
        serve("404@a", "ok", upstream={"kind": "anthropic"}) as served,
        AsyncAnthropic(base_url=served.url, api_key="none", max_retries=0) as ai,
    ):
        asked: Any = {"model": "banditd/auto", "max_tokens": 9, "messages": ASKED}
        asked["extra_body"] = {"banditd": {"explain": True}}
        whole = await ai.messages.create(**asked)
        assert whole.model_extra["banditd"]["served_arm"] == "ok"  # type: ignore[index]
        events = [event async for event in await ai.messages.create(stream=True, **asked)]
        assert [event.type for event in events][-2:] == ["banditd", "message_stop"]


@pytest.mark.parametrize(
    ("more", "status", "kind", "says"),
    [
        ({"model": "nobody"}, 404, "not_found_error", "there is no model 'nobody'"),
        ({"messages": []}, 400, "invalid_request_error", "at least one message"),
        ({"messages": [{"role": "user", "content": 5}]}, 400, "invalid_request_error", "a text or a list of blocks"),
        ({"extra_body": {"banditd": {"max_cost": 1}}}, 400, "invalid_request_error", "banditd.max_cost_usd"),
        ({"model": "banditd/arm/400-context"}, 400, "invalid_request_error", "prompt is too long"),
        ({"model": "banditd/arm/401"}, 502, "api_error", "credentials"),
        ({"model": "banditd/arm/429-after"}, 429, "rate_limit_error", ""),
        ({"model": "banditd/arm/silent"}, 504, "timeout_error", "did not answer"),
    ],
)
async def test_errors_have_anthropics_form(
    serve: Serve, more: dict[str, Any], status: int, kind: str, says: str
) -> None:
    names = ["ok", "400-context", "401", "429-after", "silent"]
    async with (
        serve(*names, upstream={"kind": "anthropic"}, short_clocks=True) as served,
        AsyncAnthropic(base_url=served.url, api_key="none", max_retries=0) as ai,
    ):
        with pytest.raises(anthropic.APIStatusError) as raised:
            await ai.messages.create(**{"model": "banditd/auto", "max_tokens": 9, "messages": ASKED, **more})
    body: Any = raised.value.body
    assert (raised.value.status_code, body["type"], body["error"]["type"]) == (status, "error", kind)
    assert says in body["error"]["message"]


async def test_anthropics_key_header_is_understood(serve: Serve) -> None:
    import hashlib

    keys = [{"name": "claude", "sha256": hashlib.sha256(b"secret").hexdigest(), "scopes": ["chat"]}]
    async with serve("ok", upstream={"kind": "anthropic"}, server={"api_keys": keys}) as served:
        asked: Any = {"model": "banditd/auto", "max_tokens": 9, "messages": ASKED}
        async with AsyncAnthropic(base_url=served.url, api_key="secret", max_retries=0) as ai:
            assert await ai.messages.create(**asked)
        async with AsyncAnthropic(base_url=served.url, auth_token="secret", api_key=None, max_retries=0) as ai:
            assert await ai.messages.create(**asked)
        async with AsyncAnthropic(base_url=served.url, api_key="wrong", max_retries=0) as ai:
            with pytest.raises(anthropic.AuthenticationError) as raised:
                await ai.messages.create(**asked)
        assert raised.value.body["error"]["type"] == "authentication_error"  # type: ignore[index]


async def test_models_have_anthropics_shape_where_its_client_asks(serve: Serve) -> None:
    aliases = {"claude-banditd-auto": "banditd/auto"}
    async with (
        serve("ok", gateway={"aliases": aliases}) as served,
        AsyncAnthropic(base_url=served.url, api_key="none", max_retries=0) as ai,
        AsyncOpenAI(base_url=served.base, api_key="none", max_retries=0) as other,
    ):
        everything = [model.id for model in (await ai.models.list(limit=1000)).data]
        assert [model.id async for model in ai.models.list(limit=1)] == everything
        assert everything == [model.id async for model in other.models.list()]
        assert "claude-banditd-auto" in everything
        last = await ai.models.list(limit=1, before_id=everything[2])
        assert ([model.id for model in last.data], last.has_more) == ([everything[1]], True)
        for name in (*everything, "banditd/auto:economy"):
            assert (await ai.models.retrieve(name)).id == (await other.models.retrieve(name)).id == name
        with pytest.raises(anthropic.NotFoundError, match="there is no model"):
            await ai.models.retrieve("nobody")
        with pytest.raises(openai.NotFoundError, match="did you mean banditd/auto"):
            await other.models.retrieve("banditd/aut")
        for wrong in ({"limit": 0}, {"after_id": "nobody"}):
            with pytest.raises(anthropic.BadRequestError):
                await ai.models.list(**wrong)  # type: ignore[arg-type]


# ---------------------------------------------------------------- counting


@pytest.mark.parametrize(
    ("kind", "name", "counted_by"),
    [
        ("anthropic", "ok", "ok"),
        ("anthropic", "404", "estimate"),
        ("anthropic", "500", "estimate"),
        ("anthropic", "401", "estimate"),
        ("anthropic", "html", "estimate"),
        ("openai", "ok", "estimate"),
    ],
)
async def test_tokens_are_counted_and_nothing_else_happens(
    serve: Serve, faulty: Faulty, kind: str, name: str, counted_by: str
) -> None:
    async with (
        serve(name, upstream={"kind": kind}, policy={"breaker_errors": 1}) as served,
        AsyncAnthropic(base_url=served.url, api_key="none", max_retries=0) as ai,
    ):
        for _ in range(3):
            raw = await ai.messages.with_raw_response.count_tokens(
                model="banditd/auto", messages=ASKED, tools=[{"name": "f", "input_schema": {"type": "object"}}]
            )
            counted: Any = raw.parse()
            count = (await counted).input_tokens
            assert raw.headers["x-banditd-counted-by"] == counted_by
            assert count == 11 if counted_by == "ok" else count > 11
        assert await settled(served) == []
        assert served.daemon.services.gateway.left_alone("default") == {}  # type: ignore[union-attr]
    assert {call.path for call in faulty.calls} <= {"/v1/messages/count_tokens"}


async def test_what_is_too_long_for_every_arm_has_a_length(serve: Serve) -> None:
    async with (
        serve(arm("ok", context_window_tokens=1), upstream={"kind": "anthropic"}) as served,
        AsyncAnthropic(base_url=served.url, api_key="none", max_retries=0) as ai,
    ):
        long: Any = [{"role": "user", "content": "word " * 1000}]
        assert (await ai.messages.count_tokens(model="banditd/auto", messages=long)).input_tokens > 500
        with pytest.raises(anthropic.BadRequestError, match="prompt is too long"):
            await ai.messages.create(model="banditd/auto", messages=long, max_tokens=9)


# ---------------------------------------------------------------- responses


async def test_a_broken_response_ends_with_the_event_that_agents_wait_for(serve: Serve) -> None:
    async with serve("error-second", "ok", short_clocks=True) as served, aiohttp.ClientSession() as session:
        body = {"model": "banditd/auto", "input": "hello", "stream": True}
        async with session.post(f"{served.base}/responses", json=body) as answer:
            events = [
                json.loads(line[6:]) for line in (await answer.text()).splitlines() if line.startswith("data: ")
            ]
    assert [event["type"] for event in events][-2:] == ["response.failed", "error"]
    failed = events[-2]["response"]
    assert (failed["id"], failed["status"], failed["error"]["code"]) == ("resp_faulty", "failed", "server_error")


async def test_arms_whose_upstream_does_not_speak_responses_have_no_part(serve: Serve, faulty: Faulty) -> None:
    more = {"chats": {"base_url": faulty.url, "surfaces": ["chat"]}}
    async with (
        serve(arm("ok@chats", upstream="chats"), "ok", upstreams=more) as served,
        AsyncOpenAI(base_url=served.base, api_key="none", max_retries=0) as ai,
    ):
        answer: Any = await ai.responses.create(
            model="banditd/auto", input="hello", extra_body={"banditd": {"explain": True}}
        )
        assert answer.model_extra["banditd"]["exclusions"] == {"ok@chats": "surface_unsupported"}
        with pytest.raises(openai.BadRequestError, match="ok@chats: surface_unsupported"):
            await ai.responses.create(model="banditd/arm/ok@chats", input="hello")


async def test_a_surface_that_is_missing_is_no_illness(serve: Serve, faulty: Faulty) -> None:
    async with serve("404", "ok", policy={"breaker_errors": 1}) as served, responses(served) as read:
        for _ in range(2):
            assert await read(stream=False) == TEXT
        assert served.daemon.services.gateway.left_alone("default") == {}  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"background": True}, "cannot be metered"),
        ({"input": 5}, "a text or a list of items"),
        ({"input": [1]}, "must be an object"),
    ],
)
async def test_bad_requests_for_responses(serve: Serve, body: dict[str, Any], says: str) -> None:
    async with (
        serve("ok") as served,
        AsyncOpenAI(base_url=served.base, api_key="none", max_retries=0) as ai,
    ):
        with pytest.raises(openai.BadRequestError, match=says):
            await ai.responses.create(**{"model": "banditd/auto", "input": "x", **body})


# ---------------------------------------------------------------- embeddings


async def test_embeddings_come_from_one_arm(serve: Serve, faulty: Faulty) -> None:
    settings = {"embeddings": "banditd/arm/ok@embed"}
    async with (
        serve("ok", "ok@embed", gateway=settings, policy={"kind": "uniform", "options": {}}) as served,
        AsyncOpenAI(base_url=served.base, api_key="none", max_retries=0) as ai,
    ):
        for model, served_by in (("banditd/auto", "ok@embed"), ("banditd/arm/ok", "ok")):
            for given in ("one", ["one", "two"], [[1, 2], [3]]):
                raw = await ai.embeddings.with_raw_response.create(model=model, input=given)  # type: ignore[arg-type]
                assert raw.headers["x-banditd-arm"] == served_by
                assert len(raw.parse().data) == (2 if isinstance(given, list) else 1)
        rows = await settled(served)
    assert {(row["reason"], row["propensity"]) for row in rows} == {("pinned", 1.0)}
    assert all(row["usage"]["cost_usd"] == pytest.approx(11 * 100 / 1e6) for row in rows)


async def test_a_constraint_looks_at_all_that_is_to_be_embedded(serve: Serve, faulty: Faulty) -> None:
    card = {"name": "card", "action": "forbid", "arms": ["ok"], "patterns": [r"\b\d{16}\b"]}
    async with (
        serve("ok", "ok@own", policy={"constraints": [card]}, server={"max_input_chars": 20}) as served,
        AsyncOpenAI(base_url=served.base, api_key="none", max_retries=0) as ai,
    ):
        with pytest.raises(openai.BadRequestError, match="constraint:card"):
            await ai.embeddings.create(model="banditd/arm/ok", input=["What is charged?", "4111111111111111"])
    assert not faulty.models_called()


async def test_what_is_detected_keeps_an_arm_from_answering_over_every_way_in(serve: Serve, faulty: Faulty) -> None:
    private = {"name": "private", "action": "forbid", "arms": ["ok"], "detect": ["secrets", "pii:IBAN_CODE"]}
    texts = ["Zahle an DE89 3704 0044 0532 0130 00", "export API_KEY=" + "aB3dE5gH" * 4]
    async with (
        serve("ok", "ok@own", policy={"constraints": [private]}) as served,
        AsyncOpenAI(base_url=served.base, api_key="none", max_retries=0) as ai,
        aiohttp.ClientSession() as http,
    ):
        for text, arm in [*((text, "ok@own") for text in texts), ("Zahle an den Wirt", "ok")]:
            before = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": text}]
            after = [{"role": "assistant", "content": "Yes."}, {"role": "user", "content": "Go on."}]
            raw = await ai.chat.completions.with_raw_response.create(
                model="banditd/auto",
                messages=[*before, *after],  # type: ignore[list-item]
            )
            assert raw.headers["x-banditd-arm"] == arm
            async with http.post(f"{served.base}/route", json={"input": text, "explain": True}) as answer:
                body = await answer.json()
            assert body["arm"] == arm
            assert body["exclusions"].get("ok") == (None if arm == "ok" else "constraint:private")


async def test_an_embedding_is_never_another_arms(serve: Serve, faulty: Faulty) -> None:
    async with (
        serve("500", "ok") as served,
        AsyncOpenAI(base_url=served.base, api_key="none", max_retries=0) as ai,
    ):
        with pytest.raises(openai.APIStatusError):
            await ai.embeddings.create(model="banditd/arm/500", input="x")
        with pytest.raises(openai.NotFoundError, match=r"gateway\.embeddings"):
            await ai.embeddings.create(model="banditd/auto", input="x")
        with pytest.raises(openai.BadRequestError, match="input must be"):
            await ai.embeddings.create(model="banditd/arm/ok", input=[])
    assert set(faulty.models_called()) == {"500"}
