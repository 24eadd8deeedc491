"""Recipes that the gateway runs: members at once, nothing before the answer is settled, every call in one record."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest
from bench.faulty.app import Faulty
from bench.faulty.shapes import TEXT
from tests.gateway.conftest import Serve, Served, arm
from tests.gateway.test_faults import hung_up, settled

BODIES: dict[str, dict[str, Any]] = {
    "chat/completions": {"messages": [{"role": "user", "content": "Say hello."}]},
    "messages": {"messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 64},
    "responses": {"input": "Say hello."},
}
DRAWN = {"options": {"arm": "duo"}}


def agree(first: str, second: str, other: str, **more: Any) -> dict[str, Any]:
    return {"arm": "duo", "recipe": {"kind": "agree", "members": [first, second], "else": other, **more}}


async def ask(served: Served, path: str = "chat/completions", **more: Any) -> tuple[aiohttp.ClientResponse, bytes]:
    body = {"model": "banditd/auto", **BODIES[path], **more}
    async with aiohttp.ClientSession() as session, session.post(f"{served.base}/{path}", json=body) as response:
        return response, await response.read()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", list(BODIES))
async def test_members_that_agree_are_the_answer(serve: Serve, faulty: Faulty, path: str, stream: bool) -> None:
    """In every form what comes is what the first member alone would have given, byte for byte."""
    anthropic = {"kind": "anthropic", "base_url": faulty.url, "api_key_env": "UPSTREAM_KEY"}
    behind = {"upstream": "anthropic"} if path == "messages" else {}
    models = [arm(f"ok@{name}", **behind) for name in "abc"]
    async with serve(
        *models, agree("ok@a", "ok@b", "ok@c"), policy=DRAWN, upstreams={"anthropic": anthropic}
    ) as served:
        response, answer = await ask(served, path, stream=stream)
        assert (response.status, response.headers["x-banditd-arm"]) == (200, "duo")
        assert sorted(faulty.models_called()) == ["ok@a", "ok@b"]
        [decision] = await settled(served)
        assert [(one["arm"], one["recipe"]) for one in decision["attempts"]] == [("ok@b", "duo"), ("ok@a", "duo")]
        usage = decision["usage"]
        assert (usage["served_arm"], usage["error"], decision["arm"]) == (None, None, "duo")
        assert usage["cost_usd"] == pytest.approx(sum(one["cost_usd"] for one in decision["attempts"]))
        assert all(one["cost_usd"] > 0 for one in decision["attempts"])
        _, alone = await ask(served, path, stream=stream, model="banditd/arm/ok@a")
        assert answer == alone


@pytest.mark.parametrize(
    ("first", "stream"),
    [("ok-tools@a", True), ("ok-empty@a", True), ("500@a", True), ("500@a", False), ("eof@a", False)],
)
async def test_where_members_differ_or_fail_the_other_answers(
    serve: Serve, faulty: Faulty, first: str, stream: bool
) -> None:
    async with serve(first, "ok@b", "ok@c", agree(first, "ok@b", "ok@c"), policy=DRAWN) as served:
        response, answer = await ask(served, stream=stream)
        assert response.status == 200
        assert answer.endswith(b"data: [DONE]\n\n") is stream
        assert faulty.models_called()[-1] == "ok@c"
        assert len(faulty.calls) == 3
        [decision] = await settled(served)
        assert decision["attempts"][-1]["arm"] == "ok@c"
        assert (decision["usage"]["served_arm"], decision["usage"]["error"]) == (None, None)
        assert await served.daemon.services.arms._store.settled("default") == {  # type: ignore[attr-defined]
            ("agree", tuple(sorted((first, "ok@b")))): (1.0, 1.0)
        }


async def test_an_answer_is_kept_where_the_other_fails(serve: Serve) -> None:
    models = ("500@a", "ok@b", "500@c", "ok@d")
    async with serve(*models, agree("500@a", "ok@b", "500@c"), policy=DRAWN) as served:
        response, answer = await ask(served)
        assert json.loads(answer)["choices"][0]["message"]["content"] == TEXT
        [decision] = await settled(served)
        assert [one["arm"] for one in decision["attempts"]] == ["500@a", "500@c", "ok@b"]
        assert response.headers["x-banditd-arm"] == "duo"


async def test_a_recipe_that_nobody_answers_gives_way_to_a_model_that_is_no_part_of_it(
    serve: Serve, faulty: Faulty
) -> None:
    models = ("500@a", "500@b", "500@c", "ok@d")
    async with serve(*models, agree("500@a", "500@b", "500@c"), policy=DRAWN) as served:
        response, _ = await ask(served)
        assert (response.status, response.headers["x-banditd-arm"]) == (200, "ok@d")
        assert sorted(faulty.models_called()) == ["500@a", "500@b", "500@c", "ok@d"]
        [decision] = await settled(served)
        assert decision["usage"]["served_arm"] == "ok@d"


async def test_nothing_is_sent_before_all_members_have_ended(serve: Serve, faulty: Faulty) -> None:
    models = ("ok@a", "ok-long@b", "ok@c")
    async with serve(*models, agree("ok@a", "ok-long@b", "ok@c"), policy=DRAWN) as served:
        body = {"model": "banditd/auto", "stream": True, **BODIES["chat/completions"]}
        url = f"{served.base}/chat/completions"
        async with aiohttp.ClientSession() as session, session.post(url, json=body) as response:
            assert [call.ending for call in faulty.calls] == ["finished"] * 3
            assert (await response.read()).endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_takes_all_calls_with_it(serve: Serve, faulty: Faulty, stream: bool) -> None:
    long = {"headers_s": 60.0, "first_token_s": 60.0, "answer_s": 60.0, "total_s": 60.0}
    models = ("silent@a", "silent@b", "ok@c")
    async with serve(*models, agree("silent@a", "silent@b", "ok@c"), policy=DRAWN, timeouts=long) as served:
        asking = asyncio.ensure_future(ask(served, stream=stream))
        while len(faulty.calls) < 2:  # noqa: ASYNC110 - the other side of a connection
            await asyncio.sleep(0.01)
        asking.cancel()
        await hung_up(faulty)
        [decision] = await settled(served)
        assert [(one["arm"], one["error"]) for one in decision["attempts"]] == [
            ("silent@a", "client_gone"),
            ("silent@b", "client_gone"),
        ]
        assert "ok@c" not in faulty.models_called()


@pytest.mark.parametrize("stream", [False, True])
async def test_what_a_member_has_answered_is_charged_though_the_client_leaves(
    serve: Serve, faulty: Faulty, stream: bool
) -> None:
    long = {"headers_s": 60.0, "first_token_s": 60.0, "answer_s": 60.0, "total_s": 60.0}
    models = ("ok@a", "silent@b", "ok@c")
    async with serve(*models, agree("ok@a", "silent@b", "ok@c"), policy=DRAWN, timeouts=long) as served:
        await ask(served, stream=stream, model="banditd/arm/ok@a")
        asking = asyncio.ensure_future(ask(served, stream=stream))
        while [call.ending for call in faulty.calls].count("finished") < 2 or len(faulty.calls) < 3:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)  # until the answer is read
        asking.cancel()
        await hung_up(faulty)
        left, alone = await settled(served)
        told = {one["arm"]: one for one in left["attempts"]}
        assert (told["ok@a"]["error"], told["silent@b"]["error"]) == (None, "client_gone")
        figures = ("input_tokens", "output_tokens", "cost_usd")
        assert [told["ok@a"][name] for name in figures] == [alone["attempts"][0][name] for name in figures]
        assert left["usage"]["cost_usd"] == pytest.approx(sum(one["cost_usd"] for one in told.values()))


async def test_what_cannot_be_compared_is_no_recipes_to_answer(serve: Serve) -> None:
    async with serve("ok@a", "ok@b", "ok@c", agree("ok@a", "ok@b", "ok@c"), policy=DRAWN) as served:
        response, _ = await ask(served, n=2)
        assert response.headers["x-banditd-arm"] != "duo"
        [decision] = await settled(served)
        assert decision["exclusions"]["duo"] == "not_comparable"
        response, _ = await ask(served, "responses", conversation="conv_1")
        assert response.headers["x-banditd-arm"] != "duo"
        assert [one["exclusions"].get("duo") for one in await settled(served)] == [
            "kept_by_upstream",
            "not_comparable",
        ]
        async with aiohttp.ClientSession() as session, session.get(f"{served.base}/models") as listed:
            assert "banditd/arm/duo" in [one["id"] for one in (await listed.json())["data"]]
