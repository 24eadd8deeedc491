"""Whole conversations over HTTP, on both databases: when an arm is kept, when it is drawn afresh, at what price."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp
import pytest
from bench.faulty.app import Faulty
from tests.gateway.conftest import KEY, Serve, Served, serve_daemon, settling
from tests.patience import PATIENT

from banditd.settings import Settings
from banditd.storage.sessions import SessionReader

CACHED = {"usd_per_mtok_in": 100.0, "usd_per_mtok_out": 100.0, "usd_per_mtok_cached_in": 10.0}
TOOLS = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
SYSTEM = {"role": "system", "content": "You are helpful. " * 40}


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def answer(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


CALL = {
    "role": "assistant",
    "content": None,
    "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{}"}}],
}
RESULT = {"role": "tool", "tool_call_id": "call_1", "content": "42"}
ASKED = [SYSTEM, user("What is in the box?")]
OPEN = [*ASKED, CALL, RESULT]
CLOSED = [*OPEN, answer("There is 42 in it."), user("And in the other?")]
THOUGHT = {
    "role": "assistant",
    "content": [
        {"type": "thinking", "thinking": "hm", "signature": "c2ln"},
        {"type": "text", "text": "Let me see."},
    ],
}


class Talk:
    """Sends turns to a daemon and tells what was decided."""

    def __init__(self, served: Served, http: aiohttp.ClientSession) -> None:
        self.served = served
        self.http = http

    async def turn(
        self, messages: list[Any], *, headers: dict[str, str] | None = None, model: str = "banditd/auto", **more: Any
    ) -> dict[str, Any]:
        body = {"model": model, "messages": messages, "tools": TOOLS, **more}
        async with self.http.post(f"{self.served.base}/chat/completions", json=body, headers=headers) as got:
            assert got.status == 200, await got.text()
            said = await got.read()
            decision: dict[str, Any] = {"usage": None}
            while decision["usage"] is None:
                await settling(self.served)
                decision = await self.served.decision(got.headers["x-banditd-decision-id"])
            return {**decision, "served": got.headers["x-banditd-arm"], "answer": json.loads(said)}


@asynccontextmanager
async def talking(
    faulty: Faulty,
    url: str,
    arms: list[dict[str, Any]] | None = None,
    gateway: dict[str, Any] | None = None,
    **policy: Any,
) -> AsyncIterator[Talk]:
    made = arms or [{"arm": name, "upstream": "up", "upstream_model": "ok", "price": CACHED} for name in ("a", "b")]
    settings = Settings(
        database={"url": url, **PATIENT},  # type: ignore[arg-type]
        learner={"pause_ms": 0, "poll_s": 0.25, "lease_s": 2},  # type: ignore[arg-type]
        upstreams={"up": {"base_url": faulty.url, "api_key_env": "UPSTREAM_KEY"}},  # type: ignore[dict-item]
        gateway=gateway or {},  # type: ignore[arg-type]
        policies={"default": {"arms": made, "exploration_floor": 0.5, **policy}},  # type: ignore[dict-item]
    )
    async with AsyncExitStack() as stack:
        served = await stack.enter_async_context(serve_daemon(settings))
        yield Talk(served, await stack.enter_async_context(aiohttp.ClientSession()))


@pytest.fixture
async def talk(faulty: Faulty, database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Talk]:
    monkeypatch.setenv("UPSTREAM_KEY", KEY)
    async with talking(faulty, database_url) as opened:
        yield opened


def was_kept(made: dict[str, Any], arm: str) -> bool:
    return (made["reason"], made["propensity"], made["arm"]) == ("session", 1.0, arm)


def logged(made: dict[str, Any]) -> float:
    """The probability of the chosen arm in the vector of the log."""
    [found] = [one["probability"] for one in made["arms"] if one["arm"] == made["arm"]]
    return float(found)


async def test_a_conversation_keeps_its_arm_while_tools_are_open_and_is_drawn_afresh_after(talk: Talk) -> None:
    arms = set()
    for _ in range(16):
        asked = await talk.turn(ASKED)
        assert asked["reason"] == "policy"
        assert 0.0 < asked["propensity"] < 1.0
        assert asked["propensity"] == logged(asked)
        for messages in (OPEN, [*OPEN, CALL, RESULT], [*OPEN, answer("so far:")]):
            assert was_kept(await talk.turn(messages), asked["arm"])
        closed = await talk.turn(CLOSED)
        assert (closed["reason"], closed["session_id"]) == ("policy", asked["session_id"])
        assert was_kept(await talk.turn([*CLOSED, CALL, RESULT]), closed["arm"])
        arms |= {asked["arm"], closed["arm"]}
    assert arms == {"a", "b"}


@pytest.mark.parametrize(
    "thought",
    [
        THOUGHT,
        {"role": "assistant", "content": [{"type": "redacted_thinking", "data": "x"}]},
        {"role": "assistant", "content": "Let me see.", "thinking_blocks": [{"type": "thinking"}]},
        {"role": "assistant", "content": "Let me see.", "reasoning_details": [{"type": "reasoning.encrypted"}]},
    ],
)
async def test_signed_thoughts_stay_with_the_model_that_had_them(talk: Talk, thought: dict[str, Any]) -> None:
    for n in range(6):
        asked = await talk.turn([user(f"Think {n}")])
        thinking = [user(f"Think {n}"), thought, user("Go on.")]
        assert was_kept(await talk.turn(thinking), asked["arm"])
        assert was_kept(await talk.turn([*thinking, answer("Done."), user("More.")]), asked["arm"])


@pytest.mark.parametrize(
    ("headers", "more", "session_id"),
    [
        ({"x-banditd-session": "s-1"}, {}, "s-1"),
        ({"x-banditd-session": "s-1"}, {"banditd": {"session_id": "s-2"}}, "s-2"),
        ({"X-OpenWebUI-Chat-Id": "chat-1"}, {"prompt_cache_key": "p-1"}, "chat-1"),
        ({}, {"prompt_cache_key": "p-1"}, "p-1"),
        ({}, {"metadata": {"user_id": "user_1_account_2_session_0123-abcd"}}, "0123-abcd"),
        ({"x-banditd-session": ""}, {"metadata": {"user_id": "somebody"}}, None),
    ],
)
async def test_where_the_session_is_found(
    talk: Talk, headers: dict[str, str], more: dict[str, Any], session_id: str | None
) -> None:
    asked = await talk.turn(ASKED, headers=headers, **more)
    kept = await talk.turn(OPEN, headers=headers, **more)
    assert was_kept(kept, asked["arm"])
    assert kept["session_id"] == asked["session_id"]
    if session_id is None:
        assert asked["session_id"].startswith("conversation-")
    else:
        assert asked["session_id"] == session_id


async def test_conversations_under_one_cache_key_do_not_take_each_others_arm(talk: Talk) -> None:
    """Sub-agents and titles share their client's session: each is a conversation of its own."""
    for n in range(12):
        first = await talk.turn(ASKED, prompt_cache_key="app")
        await talk.turn([SYSTEM, user(f"Another {n}")], prompt_cache_key="app")
        assert was_kept(await talk.turn(OPEN, prompt_cache_key="app"), first["arm"])


@pytest.mark.parametrize("kept", ["conv_1", {"id": "conv_1"}])
async def test_a_conversation_that_its_upstream_keeps_goes_on_there(talk: Talk, kept: Any) -> None:
    """Each turn sends only what is new, so another upstream would know nothing of it."""
    arms = []
    for n in range(10):
        body = {"model": "banditd/auto", "input": f"And the {n}th?", "conversation": kept}
        async with talk.http.post(f"{talk.served.base}/responses", json=body) as got:
            assert got.status == 200, await got.text()
            arms.append(got.headers["x-banditd-arm"])
        await settling(talk.served)
    assert len(set(arms)) == 1


SCHEMA = {"type": "object", "properties": {f"field_{n}": {"description": "x" * 90} for n in range(40)}}
LONG_CALL = {"path": "a.py", "text": "def f():\n    return 1\n" * 200}


@pytest.mark.parametrize(
    ("path", "plain", "tools", "calls"),
    [
        (
            "chat/completions",
            {"messages": [user("hi")]},
            {"tools": [{"type": "function", "function": {"name": "look", "parameters": SCHEMA}}]},
            {"messages": [user("hi"), {**CALL, "tool_calls": [{"id": "c", "type": "function", "function": {
                "name": "look", "arguments": json.dumps(LONG_CALL)}}]}, {**RESULT, "tool_call_id": "c"}]},
        ),
        (
            "messages",
            {"messages": [user("hi")], "max_tokens": 9},
            {"tools": [{"name": "look", "input_schema": SCHEMA}]},
            {"messages": [user("hi"), {"role": "assistant", "content": [
                {"type": "tool_use", "id": "c", "name": "look", "input": LONG_CALL}]}, user("on")]},
        ),
        (
            "responses",
            {"input": [user("hi")]},
            {"tools": [{"type": "function", "name": "look", "parameters": SCHEMA}]},
            {"input": [user("hi"), {"type": "function_call", "name": "look", "call_id": "c",
                "arguments": json.dumps(LONG_CALL)},
                {"type": "function_call_output", "call_id": "c", "output": "42"}]},
        ),
    ],
)  # fmt: skip
async def test_tools_and_their_calls_count_as_input(
    faulty: Faulty, sqlite_url: str, monkeypatch: pytest.MonkeyPatch, path: str, plain: Any, tools: Any, calls: Any
) -> None:
    """They are most of what agents send: neither a predicted cost nor a window may leave them out."""
    monkeypatch.setenv("UPSTREAM_KEY", KEY)
    small = {"arm": "small", "upstream": "up", "upstream_model": "ok", "context_window_tokens": 700, "price": CACHED}
    large = {"arm": "large", "upstream": "up", "upstream_model": "ok", "price": CACHED}
    async with talking(faulty, sqlite_url, [small, large]) as talk:

        async def predicted(more: Any) -> tuple[float, dict[str, str]]:
            body = {"model": "banditd/auto", **plain, **more, "banditd": {"explain": True}}
            async with talk.http.post(f"{talk.served.base}/{path}", json=body) as got:
                assert got.status == 200, await got.text()
                details = (await got.json())["banditd"]
            costs = {one["arm"]: one["cost_usd"] for one in details["arms"]}
            return costs["large"], details["exclusions"]

        alone, nobody = await predicted({})
        assert nobody == {}
        for more in (tools, calls):
            cost_usd, exclusions = await predicted(more)
            assert cost_usd - alone > 900 * CACHED["usd_per_mtok_in"] / 1e6
            assert exclusions == {"small": "context_window"}


async def test_an_unnamed_conversation_is_told_by_its_beginning_and_by_its_user(talk: Talk) -> None:
    same = {(await talk.turn(messages))["session_id"] for messages in (ASKED, OPEN, CLOSED)}
    others = [
        await talk.turn([SYSTEM, user("Something else")]),
        await talk.turn([{**SYSTEM, "content": "Be brief."}, *ASKED[1:]]),
        await talk.turn(ASKED, user="somebody"),
        await talk.turn(ASKED, tools=[]),
    ]
    assert len(same) == 1
    assert len(same | {one["session_id"] for one in others}) == 5


async def test_a_client_may_ask_for_another_arm(talk: Talk) -> None:
    asked = await talk.turn(ASKED)
    seen = {(await talk.turn(OPEN, banditd={"new_session_arm": True}))["reason"] for _ in range(3)}
    assert seen == {"policy"}
    pinned = await talk.turn(ASKED, model="banditd/arm/b")
    assert pinned["reason"] == "pinned"
    assert was_kept(await talk.turn(OPEN), "b")
    assert asked["session_id"] == pinned["session_id"]


async def test_the_arm_that_served_goes_on_where_another_was_chosen(
    faulty: Faulty, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UPSTREAM_KEY", KEY)
    arms = [{"arm": name, "upstream": "up", "upstream_model": name} for name in ("500", "ok")]
    async with talking(
        faulty, database_url, arms, kind="fixed", options={"arm": "500"}, exploration_floor=0.0
    ) as talk:
        asked = await talk.turn(ASKED)
        assert (asked["arm"], asked["served"]) == ("500", "ok")
        kept = await talk.turn(OPEN)
        assert was_kept(kept, "ok")
        assert [attempt["arm"] for attempt in kept["attempts"]] == ["ok"]


async def test_the_price_of_a_lost_cache_is_part_of_the_choice(talk: Talk) -> None:
    asked = await talk.turn(ASKED)
    closed = await talk.turn(CLOSED, banditd={"explain": True, "cost_weight": 1.0})
    told = {one["arm"]: one for one in closed["answer"]["banditd"]["arms"]}
    stays, leaves = told[asked["arm"]], told["b" if asked["arm"] == "a" else "a"]
    assert stays["cache_loss_usd"] == 0.0
    # 90 dollars per million tokens less for what was sent before: most of the input, not all of it.
    assert 0.7 < leaves["cache_loss_usd"] / (closed["input_tokens"] * 90e-6) < 1.0
    assert leaves["cost_usd"] == pytest.approx(stays["cost_usd"], rel=0.2)
    assert leaves["penalty"] > stays["penalty"]
    assert closed["reason"] == "policy"
    assert closed["propensity"] == logged(closed)
    first = await talk.turn([user("A new one")], banditd={"explain": True})
    assert all("cache_loss_usd" not in one for one in first["answer"]["banditd"]["arms"])


async def test_above_a_quality_floor_the_least_cost_counts_the_cache(
    faulty: Faulty, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other arm is a little cheaper, but not as much as the cache is worth."""
    monkeypatch.setenv("UPSTREAM_KEY", KEY)
    cheaper = {**CACHED, "usd_per_mtok_in": 95.0}
    arms = [
        {
            "arm": name,
            "upstream": "up",
            "upstream_model": "ok",
            "price": price,
            "quality_prior": 0.9,
            "prior_worth": 1e6,
        }
        for name, price in (("a", CACHED), ("b", cheaper))
    ]
    floor = {"quality_floor": 0.1, "quality_confidence": 0.5}
    async with talking(faulty, database_url, arms, exploration_floor=0.0) as talk:
        await talk.turn(ASKED, model="banditd/arm/a")
        stays = await talk.turn(CLOSED, banditd=floor)
        assert (stays["reason"], stays["arm"]) == ("quality_floor", "a")
        assert (await talk.turn([user("New")], banditd=floor))["arm"] == "b"


async def test_a_cache_that_nobody_counts_on_has_no_price(
    faulty: Faulty, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UPSTREAM_KEY", KEY)
    async with talking(faulty, sqlite_url, gateway={"prompt_cache_s": 0.0}) as talk:
        await talk.turn(ASKED)
        closed = await talk.turn(CLOSED, banditd={"explain": True})
        assert all("cache_loss_usd" not in one for one in closed["answer"]["banditd"]["arms"])


@pytest.mark.parametrize("priced", [False, True])
async def test_only_a_cache_that_has_a_price_is_looked_for(
    priced: bool, faulty: Faulty, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UPSTREAM_KEY", KEY)
    looked: list[str] = []
    find = SessionReader.find

    async def counted(self: SessionReader, policy: str, session_id: str) -> Any:
        looked.append(session_id)
        return await find(self, policy, session_id)

    monkeypatch.setattr(SessionReader, "find", counted)
    price = CACHED if priced else {**CACHED, "usd_per_mtok_cached_in": None}
    arms = [{"arm": name, "upstream": "up", "upstream_model": "ok", "price": price} for name in ("a", "b")]
    async with talking(faulty, sqlite_url, arms) as talk:
        for messages in (ASKED, CLOSED):
            await talk.turn(messages)
        assert len(looked) == priced
        await talk.turn(OPEN)  # its arm has to be known, whatever it costs
        assert len(looked) == priced + 1


async def test_a_link_to_vote_with_comes_where_it_is_asked_for(talk: Talk) -> None:
    body = {"model": "banditd/auto", "messages": ASKED, "stream": True}
    for asked in ({}, {"x-banditd-feedback-link": "true"}):
        async with talk.http.post(f"{talk.served.base}/chat/completions", json=body, headers=asked) as got:
            await got.read()
            url = got.headers.get("x-banditd-feedback-url")
            decision_id = got.headers["x-banditd-decision-id"]
        assert (url is not None) is bool(asked)
    assert url is not None
    assert url.startswith(f"{talk.served.url}/feedback/")
    async with talk.http.post(url, data={"thumb": "down"}) as voted:
        assert voted.status == 200
    made = await talk.served.decision(decision_id)
    assert [event["reward"] for event in made["rewards"]] == [0.0]


async def test_an_answers_id_may_be_the_decisions(
    faulty: Faulty, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UPSTREAM_KEY", KEY)
    async with talking(faulty, sqlite_url, gateway={"response_id": "decision"}) as talk:
        made = await talk.turn(ASKED)
        assert made["answer"]["id"] == f"chatcmpl-{made['decision_id']}"
        for said in ("decision_id", "reference"):
            body = {said: made["answer"]["id"], "thumb": "up"}
            async with talk.http.post(f"{talk.served.base}/rewards", json=body) as got:
                assert (got.status, (await got.json())["decision_id"]) == (200, made["decision_id"])


@pytest.mark.parametrize(
    ("headers", "more", "reference"),
    [
        ({"x-banditd-reference": "r-1", "traceparent": f"00-{'a1' * 16}-{'b2' * 8}-01"}, {}, "r-1"),
        ({"x-banditd-reference": "r-1"}, {"banditd": {"reference": "r-2"}}, "r-2"),
        ({}, {"metadata": {"banditd_reference": "r-3"}}, "r-3"),
        ({"X-OpenWebUI-Message-Id": "m-1"}, {}, "m-1"),
        ({"traceparent": f"00-{'a1' * 16}-{'b2' * 8}-01"}, {}, "a1" * 16),
        ({"traceparent": f"00-{'0' * 32}-{'b2' * 8}-01"}, {}, None),
        ({"traceparent": "nonsense"}, {}, None),
        ({}, {}, None),
    ],
)
async def test_what_a_call_is_called_by(
    talk: Talk, headers: dict[str, str], more: dict[str, Any], reference: str | None
) -> None:
    made = await talk.turn(ASKED, headers=headers, **more)
    assert made["reference"] == reference
    assert made["usage"]["response_id"] == made["answer"]["id"]
    for given in filter(None, (reference, made["answer"]["id"])):
        body = {"reference": given, "thumb": "up"}
        async with talk.http.post(f"{talk.served.base}/rewards", json=body) as got:
            assert (got.status, (await got.json())["decision_id"]) == (200, made["decision_id"])


async def test_one_template_has_one_name_on_every_surface_and_no_text_in_the_log(serve: Serve) -> None:
    system, tool = "You are the desk of 2 banks.", {"name": "look", "input_schema": {}, "parameters": {}}
    chat = [{"role": "developer", "content": system}, user("Where is my card?")]
    bodies: dict[str, dict[str, Any]] = {
        "chat/completions": {"messages": chat, "tools": [{"type": "function", "function": tool}]},
        "messages": {"system": system, "messages": chat[1:], "tools": [tool], "max_tokens": 9},
        "responses": {"instructions": system.replace("2", "13"), "input": "And mine?", "tools": [tool]},
        "route": {"messages": chat, "tools": [{"type": "function", "function": tool}]},
    }
    names = []
    async with serve("ok", policy={"context_tags": ["prompt_template"]}) as served, aiohttp.ClientSession() as http:
        for path, body in bodies.items():
            sent = body if path == "route" else {"model": "banditd/auto", **body}
            async with http.post(f"{served.base}/{path}", json=sent) as got:
                await got.read()
                decision = await served.decision(got.headers["x-banditd-decision-id"])
            names.append(decision["tags"]["prompt_template"])
            assert "banks" not in json.dumps(decision, default=str)
    assert names == [names[0]] * len(bodies)
