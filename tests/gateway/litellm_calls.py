"""Run with the interpreter of LiteLLM's environment: calls of ``kind: litellm`` by the real package, as JSON lines.

``python litellm_calls.py SRC MORE_PACKAGES BASE_URL NAME...``: for every model of the fault upstream how a stream and
a whole answer end.
"""

from __future__ import annotations

import asyncio
import json
import sys

sys.path.insert(0, sys.argv[1])
sys.path.append(sys.argv[2])

from banditd.ports.upstreams import UpstreamCall, UpstreamError
from banditd.upstreams.config import Clocks, UpstreamConfig
from banditd.upstreams.pool import UpstreamPool, open_upstreams

CLOCKS = Clocks(headers_s=2.0, first_token_s=2.0, idle_s=2.0, answer_s=2.0, total_s=10.0)


async def main(url: str, names: list[str]) -> None:
    config = UpstreamConfig(name="up", kind="litellm", base_url=url, key="sk-secret-key", clocks=CLOCKS)
    async with open_upstreams([config]) as pool:
        for name in names:
            print(json.dumps({"name": name, **await _called(pool, name)}), flush=True)


async def _called(pool: UpstreamPool, name: str) -> dict[str, object]:
    body = {"model": "x", "messages": [{"role": "user", "content": "hi"}], "api_base": "http://127.0.0.1:9", "n": 1}
    call = UpstreamCall(upstream="up", surface="chat", model=f"openai/{name}", body=body, params={"temperature": 0.5})
    told: dict[str, object] = {}
    try:
        reply = await pool.complete(call)
        usage = reply.usage
        told["whole"] = [json.loads(reply.body)["choices"][0]["message"]["content"], usage and usage.output_tokens]
    except UpstreamError as error:
        told["whole"] = [error.error_class, str(error)]
    text, usage = b"", None
    try:
        stream = await pool.stream(call)
        try:
            async for events in stream:
                text += b"".join(event.raw for event in events)
                usage = next((event.usage for event in events if event.usage is not None), usage)
        finally:
            stream.close()
        words = [json.loads(line[6:])["choices"] for line in text.decode().splitlines() if line.startswith("data: {")]
        content = "".join(one[0]["delta"].get("content") or "" for one in words if one)
        told["stream"] = [content, usage and usage.output_tokens, text.endswith(b"data: [DONE]\n\n")]
    except UpstreamError as error:
        told["stream"] = [error.error_class, str(error)]
    return told


if __name__ == "__main__":
    asyncio.run(main(sys.argv[3], sys.argv[4:]))
