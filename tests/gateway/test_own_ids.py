"""``gateway.response_id: decision``: clients that keep nothing but an answer's id have the decision's in it."""

from __future__ import annotations

import hashlib
from typing import Any

import aiohttp
import openai
import pytest
from bench.faulty.app import Faulty
from openai import AsyncOpenAI
from tests.gateway.conftest import Serve

ASKED: Any = [{"role": "user", "content": "Say hello."}]
OWN = {"response_id": "decision"}


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
async def test_an_answers_id_is_the_decisions_on_every_surface(serve: Serve, faulty: Faulty, kind: str) -> None:
    prefixes = {"chat/completions": "chatcmpl-", "messages": "msg_", "responses": "resp_"}
    body = {"model": "banditd/auto", "messages": ASKED, "input": "hello", "max_tokens": 9}
    async with serve("ok", gateway=OWN, upstream={"kind": kind}) as served, aiohttp.ClientSession() as session:
        for path, prefix in prefixes.items():
            for stream in (False, True):
                if (path, kind) == ("responses", "anthropic"):
                    continue
                async with session.post(f"{served.base}/{path}", json={**body, "stream": stream}) as answer:
                    told = await answer.read()
                    own = prefix + answer.headers["x-banditd-decision-id"]
                assert b"faulty" in faulty.calls[-1].sent
                assert (b"faulty" in told, f'"{own}"'.encode() in told) == (False, True), path
                async with session.post(f"{served.base}/rewards", json={"reference": own, "thumb": "up"}) as rewarded:
                    assert rewarded.status == 200


async def test_a_broken_response_has_the_id_that_its_events_had(serve: Serve) -> None:
    body = {"model": "banditd/auto", "input": "hello", "stream": True}
    async with (
        serve("cut", gateway=OWN) as served,
        aiohttp.ClientSession() as session,
        session.post(f"{served.base}/responses", json=body) as answer,
    ):
        told = await answer.read()
        own = "resp_" + answer.headers["x-banditd-decision-id"]
    failed = next(event for event in told.split(b"\n\n") if event.startswith(b"event: response.failed"))
    assert f'"id":"{own}"'.encode() in failed


async def test_a_response_that_goes_on_from_ours_reaches_its_arm_by_the_upstreams_own_id(
    serve: Serve, faulty: Faulty
) -> None:
    keys = [
        {"name": name, "sha256": hashlib.sha256(name.encode()).hexdigest(), "scopes": ["chat"]} for name in ("a", "b")
    ]
    policy = {"kind": "uniform", "options": {}}
    async with (
        serve("ok", "ok@other", gateway=OWN, policy=policy, server={"api_keys": keys}) as served,
        AsyncOpenAI(base_url=served.base, api_key="a", max_retries=0) as ai,
        AsyncOpenAI(base_url=served.base, api_key="b", max_retries=0) as foreign,
    ):
        raw = await ai.responses.with_raw_response.create(model="banditd/auto", input="hello")
        arm, own = raw.headers["x-banditd-arm"], raw.parse().id
        for settled in (False, True):
            if settled:
                await served.daemon.services.gateway.settled()  # type: ignore[union-attr]
            for model in ("banditd/auto", f"banditd/arm/{arm}"):
                again = await ai.responses.with_raw_response.create(
                    model=model, input="more", previous_response_id=own
                )
                assert again.headers["x-banditd-arm"] == arm
                assert faulty.calls[-1].body["previous_response_id"] == "resp_faulty"
        with pytest.raises(openai.BadRequestError, match="was given here"):
            await foreign.responses.create(model="banditd/auto", input="more", previous_response_id=own)
