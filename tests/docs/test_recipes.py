"""What the documents say of the gateway runs as it is written, against a daemon whose upstream is the echo."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from bench.gateway import servers

from banditd.cli.process import own_daemon

ROOT = Path(__file__).resolve().parents[2]
NODE = Path(__file__).parent / "node"
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
_EXAMPLE = re.compile(r"<!-- gateway: (\w+) -->\n```\w+\n(.*?)```", re.DOTALL)
EXAMPLES = [
    pytest.param(kind, code, id=f"{page.name}-{kind}-{number}")
    for page in PAGES
    for number, (kind, code) in enumerate(_EXAMPLE.findall(page.read_text(encoding="utf-8")))
]
WHOLE = ("ok", "ok-split", "ok-comments")
BROKEN = ("cut", "eof", "done-early", "finish-error", "error-second", "400")
# Each model streamed and whole: the text, or the error that the client raised; and no model is called twice by it.
CALLS = """
import OpenAI from "openai";

const client = new OpenAI({ baseURL: process.argv[2], apiKey: "any" });
for (const name of process.argv.slice(3))
  for (const stream of [true, false]) {
    const seen = { name, stream, text: "", raised: null };
    try {
      const messages = [{ role: "user", content: "Say hello." }];
      const made = await client.chat.completions.create({ model: `banditd/faults/arm/${name}`, messages, stream });
      if (stream) for await (const chunk of made) seen.text += chunk.choices[0]?.delta?.content ?? "";
      else seen.text = made.choices[0].message.content;
    } catch (error) {
      seen.raised = error instanceof OpenAI.APIError ? error.message : `not of the library: ${error}`;
    }
    console.log(JSON.stringify(seen));
  }
"""
CONFIG: dict[str, Any] = {
    "upstreams": {"echo": {"kind": "echo"}},
    "gateway": {"aliases": {"gpt-5": "banditd/auto", "gpt-5.2": "banditd/auto"}},
    "policies": {"default": {"arms": [{"arm": name, "upstream": "echo"} for name in ("small", "large")]}},
}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("recipes")
    config = folder / "echo.yaml"
    with servers.upstream() as up:
        faults = {"arms": [{"arm": name, "upstream": "up"} for name in (*WHOLE, *BROKEN)], "breaker_errors": 0}
        made = {
            **CONFIG,
            "upstreams": {**CONFIG["upstreams"], "up": {"base_url": up.base}},
            "policies": {**CONFIG["policies"], "faults": faults},
        }
        config.write_text(yaml.safe_dump(made), encoding="utf-8")
        with own_daemon(database=f"sqlite:///{folder}/recipes.db", config=config) as address:
            yield address


@pytest.fixture(scope="module")
def node_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the clients of package.json."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("node and npm are not installed here")
    folder = tmp_path_factory.mktemp("node")
    shutil.copy(NODE / "package.json", folder)
    quiet = ["--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
    done = subprocess.run([npm, "install", *quiet], cwd=folder, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"npm cannot install the clients here: {done.stderr[-300:]}")
    return folder


def decisions(url: str) -> list[dict[str, Any]]:
    with urllib.request.urlopen(f"{url}/v1/decisions?limit=500") as answer:
        found: list[dict[str, Any]] = json.load(answer)["decisions"]
    return found


@pytest.mark.parametrize(("kind", "code"), EXAMPLES)
def test_an_example_answers_and_is_recorded(
    kind: str, code: str, url: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if kind == "bash" and shutil.which("curl") is None:
        pytest.skip("curl is not installed here")
    code = code.replace("http://127.0.0.1:8484", url)
    folder = request.getfixturevalue("node_folder") if kind == "node" else tmp_path
    script = folder / ("example.mjs" if kind == "node" else "example")
    script.write_text(code, encoding="utf-8")
    command = {"python": [sys.executable], "node": ["node"], "bash": ["bash", "-euo", "pipefail"]}[kind]
    before = len(decisions(url))
    done = subprocess.run(
        [*command, str(script)],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "OPENAI_API_KEY": "any", "BANDITD_URL": url},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    asked = re.findall(r'(?:content"?|prompt): "([^"]+)"', code)
    words = [word for said in asked for word in said.split()]
    assert words, "an example asks something"
    assert all(word in done.stdout for word in words), done.stdout  # the echo answers with the question
    assert len(decisions(url)) - before == len(asked)


def test_the_npm_client_sees_every_broken_stream(node_folder: Path, url: str) -> None:
    """What the recipe says of streams: one that ends without an exception is whole."""
    (node_folder / "calls.mjs").write_text(CALLS, encoding="utf-8")
    before = len(decisions(url))
    command = ["node", "calls.mjs", f"{url}/v1", *WHOLE, *BROKEN]
    done = subprocess.run(command, cwd=node_folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = [json.loads(line) for line in done.stdout.splitlines()]
    hello = told[0]["text"]
    assert hello
    for one in told:
        assert one["raised"] is not None or one["text"] == hello, one  # never a short answer that looks whole
        assert not (one["raised"] or "").startswith("not of the library"), one
    assert {one["name"] for one in told if one["raised"] is not None and one["stream"]} == set(BROKEN)
    assert len(decisions(url)) - before == len(told)  # it was told not to try again


def test_there_is_an_example_of_every_kind() -> None:
    kinds = {str(param.values[0]) for param in EXAMPLES}
    assert kinds == {"python", "node", "bash"}
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert _EXAMPLE.findall(readme)
    assert readme.count("\n") <= 120


def test_a_thumb_of_open_webui_is_a_reward_and_may_change(url: str) -> None:
    spec = importlib.util.spec_from_file_location("feedback", ROOT / "examples" / "openwebui" / "feedback.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    function = module.Event()
    function.valves.banditd_url = url
    asked = {"model": "banditd/auto", "messages": [{"role": "user", "content": "Say hello."}]}
    headers = {"Content-Type": "application/json", "x-banditd-reference": "message-1", "x-banditd-session": "chat-1"}
    request = urllib.request.Request(f"{url}/v1/chat/completions", json.dumps(asked).encode(), headers)
    with urllib.request.urlopen(request) as answer:
        decision_id = answer.headers["x-banditd-decision-id"]
    for rating in (1, -1):
        feedback = {"type": "rating", "data": {"rating": rating}, "meta": {"message_id": "message-1"}}
        event = {"actor": {"id": "u"}, "data": {"feedback": feedback}}
        asyncio.run(function.event(event, __event_name__="feedback.created", __id__="x"))
    asyncio.run(function.event({"data": {}}, __event_name__="feedback.deleted"))
    odd = {"data": {"rating": [1]}, "meta": {"message_id": "message-1"}}
    asyncio.run(function.event({"data": {"feedback": odd}}, __event_name__="feedback.updated"))
    asyncio.run(function.event(event, __event_name__="chat.created"))
    with urllib.request.urlopen(f"{url}/v1/decisions/{decision_id}") as answer:
        rewards = json.load(answer)["rewards"]
    assert [one["reward"] for one in rewards] == [1.0, 0.0]
    assert [one["revision"] for one in rewards] == [0, 1]
