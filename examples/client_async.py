"""The same with asyncio: many queries at once, one of them with a fallback."""

import asyncio
import os

import aiohttp

from banditd.client import AsyncClient, NoArmError

GATEWAY = os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:4000/v1")
PROMPTS = ["What is 17 times 23?", "Translate into French: good morning", "Write a poem about rain."]


async def answer(client: AsyncClient, session: aiohttp.ClientSession, prompt: str) -> str:
    async with client.turn(prompt, source="implicit") as turn:
        # The chosen model first, then the others, best first. Whoever answers is the one that learns.
        by_arm = {arm.arm: arm.model for arm in await client.arms()}
        for arm in (turn.arm, *turn.decision.fallbacks):
            body = {"model": by_arm[arm], "messages": [{"role": "user", "content": prompt}]}
            async with session.post(f"{GATEWAY}/chat/completions", json=body) as got:
                if got.status >= 500:
                    continue
                completion = turn.observe(await got.json())
            if arm != turn.arm:
                turn.served(arm)
            turn.reward(1.0 if completion["choices"][0]["finish_reason"] == "stop" else 0.0)
            return completion["choices"][0]["message"]["content"]
        raise RuntimeError("no model answered")


async def main() -> None:
    url = os.environ.get("BANDITD_URL", "http://127.0.0.1:8484")
    async with AsyncClient(url) as client, aiohttp.ClientSession() as session:
        for text in await asyncio.gather(*(answer(client, session, prompt) for prompt in PROMPTS)):
            print(text)
        try:
            await client.route("Prove it.", max_cost_usd=0.0)
        except NoArmError as error:
            print("too dear:", *sorted(error.exclusions))


asyncio.run(main())
