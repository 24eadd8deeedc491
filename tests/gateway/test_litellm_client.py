"""LiteLLM as a client of the gateway: the real package, where it is, in an environment of its own."""

from __future__ import annotations

import asyncio
import json
import os

import pytest
from bench.gateway.servers import LITELLM
from tests.gateway.conftest import Serve

pytestmark = pytest.mark.skipif(not LITELLM.exists(), reason="LiteLLM is not installed here: make litellm")
BROKEN = ("cut", "eof", "done-early", "finish-error", "error-second", "400-context")
CALLS = """
import json, sys
import litellm

base, *names = sys.argv[1:]
for name in names:
    for stream in (False, True):
        seen = {"name": name, "stream": stream, "text": "", "raised": None}
        try:
            made = litellm.completion(
                model=f"openai/banditd/arm/{name}", api_base=base, api_key="any", stream=stream, max_retries=0,
                messages=[{"role": "user", "content": "Say hello."}],
            )
            if stream:
                for chunk in made:
                    seen["text"] += chunk.choices[0].delta.content or ""
            else:
                seen["text"] = made.choices[0].message.content
        except Exception as error:
            seen["raised"] = f"{type(error).__name__}: {error}"
        print(json.dumps(seen), flush=True)
"""


async def test_litellm_takes_answers_and_raises_on_every_broken_stream(serve: Serve) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    async with serve("ok", *BROKEN, policy={"breaker_errors": 0}) as served:
        process = await asyncio.create_subprocess_exec(
            str(LITELLM.with_name("python")), "-c", CALLS, served.base, "ok", *BROKEN,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            env={**environment, "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
        )  # fmt: skip
        printed, complaints = await process.communicate()
    told = [json.loads(line) for line in printed.splitlines() if line.startswith(b"{")]
    assert len(told) == 2 * (1 + len(BROKEN)), complaints.decode()[-2000:]
    hello = told[0]["text"]
    assert hello
    assert (told[1]["text"], told[1]["raised"]) == (hello, None)
    for one in told[2:]:
        assert one["raised"] is not None or one["text"] == hello, one  # never a short answer that looks whole
    assert {one["name"] for one in told if one["raised"] is not None and one["stream"]} == set(BROKEN)
    windows = [one["raised"] for one in told if one["name"] == "400-context"]
    assert all(raised.startswith("ContextWindowExceededError") for raised in windows), windows
