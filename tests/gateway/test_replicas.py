"""Two daemons on one database: what one has answered, the other knows, as soon as a client can say it."""

from __future__ import annotations

from typing import Any

import aiohttp
from bench.faulty.app import Faulty
from openai import AsyncOpenAI
from tests.gateway.conftest import Serve, serve_daemon

ASKED: Any = [{"role": "user", "content": "Say hello."}]


async def test_an_answer_of_one_replica_is_rewarded_and_gone_on_with_at_another_at_once(
    serve: Serve, faulty: Faulty
) -> None:
    async with (
        serve("ok", "ok@other", policy={"kind": "uniform", "options": {}}) as one,
        serve_daemon(one.settings) as other,
        AsyncOpenAI(base_url=one.base, api_key="none", max_retries=0) as here,
        AsyncOpenAI(base_url=other.base, api_key="none", max_retries=0) as there,
        aiohttp.ClientSession() as session,
    ):
        raw = await here.chat.completions.with_raw_response.create(model="banditd/auto", messages=ASKED)
        decision_id = raw.headers["x-banditd-decision-id"]
        rewards: Any = [{"reference": raw.parse().id, "thumb": "up"}, {"reference": "nobody", "thumb": "up"}]
        async with session.post(f"{other.base}/rewards", json=rewards) as posted:
            [taken, refused] = (await posted.json())["results"]
        assert (taken["receipt"]["decision_id"], refused["status_code"]) == (decision_id, 404)

        first = await here.responses.with_raw_response.create(model="banditd/auto", input="hello")
        drawn = {first.headers["x-banditd-arm"]}
        previous = first.parse().id
        for _ in range(4):
            after = await there.responses.with_raw_response.create(
                model="banditd/auto", input="more", previous_response_id=previous
            )
            drawn.add(after.headers["x-banditd-arm"])
        assert len(drawn) == 1
