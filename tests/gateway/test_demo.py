"""A newcomer's first call: no key, no model, one command."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from openai import AsyncOpenAI
from tests.gateway.conftest import printed_until

from banditd.cli.gateway_demo import QUESTION, curl, with_echo, with_smollm
from banditd.settings import Settings, load_settings
from banditd.simulate import smollm

ROOT = Path(__file__).resolve().parents[2]


def test_the_example_is_put_behind_the_echo_and_named_upstreams_stay() -> None:
    made = with_echo(load_settings(ROOT / "config.yaml"))
    assert {arm.upstream for arm in made.policies["default"].arms} == {"echo"}
    assert [arm.upstream for arm in with_echo(Settings()).policies["default"].arms] == ["echo", "echo"]
    named = Settings(upstreams={"mine": {"base_url": "http://127.0.0.1:1/v1"}})  # type: ignore[dict-item]
    assert with_echo(named) is named


def test_the_example_is_put_behind_the_small_model() -> None:
    made = with_smollm(
        load_settings(ROOT / "config.yaml"), {512: "http://127.0.0.1:1/v1", 4096: "http://127.0.0.1:2/v1"}
    )
    arms = {arm.arm: (arm.upstream, arm.context_window_tokens) for arm in made.policies["default"].arms}
    assert arms == {"smollm-512": ("smollm-512", 512), "smollm-4096": ("smollm-4096", 4096)}
    assert {name: up.base_url for name, up in made.upstreams.items()}["smollm-4096"] == "http://127.0.0.1:2/v1"


@pytest.mark.skipif(smollm.installed(), reason="the small model is installed, and served in place of the echo")
@pytest.mark.parametrize("taken", [False, True])
async def test_the_demo_answers_and_goes_on_answering(taken: bool, tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        if taken:
            other.listen()
        else:
            other.close()
        process = subprocess.Popen(  # noqa: ASYNC220 - started and left to itself
            [sys.executable, "-m", "banditd", "simulate", "--gateway", "--url", f"http://127.0.0.1:{port}"],
            cwd=ROOT, stdout=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": str(tmp_path)},
        )  # fmt: skip
        try:
            said = await asyncio.to_thread(printed_until, process, "stop with Ctrl-C")
            assert "answered just now by the arm" in said
            assert said.count(QUESTION) == 2  # asked, and echoed
            found = re.search(r"serves on (http://\S+?)/v1", said)
            assert found is not None
            assert found[1].endswith(f":{port}") is not taken
            assert curl(found[1]) in said
            typed = shlex.split(curl(found[1]).replace("\\\n", ""))
            assert json.loads(typed[-1])["model"] == "banditd/auto"
            async with AsyncOpenAI(base_url=f"{found[1]}/v1", api_key="none") as ai:
                stream = await ai.chat.completions.create(
                    model="banditd/auto:economy",
                    messages=[{"role": "user", "content": "one  two three"}],
                    stream=True,
                )
                text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])
            assert text == "one  two three"
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate()
    assert process.returncode == 0
    assert os.listdir(tmp_path) == []  # noqa: PTH208
