"""Every file of examples/ runs as it is, against a real daemon and a gateway that speaks chat completions."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from banditd.cli.process import own_daemon

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
NEEDS = {"curl.sh": None, "client.py": None, "client_async.py": None, "openai_sdk.py": "openai",
         "litellm_sdk.py": "litellm"}  # fmt: skip
REWARDS = {"curl.sh": 1, "client.py": 3, "client_async.py": 3, "openai_sdk.py": 1, "litellm_sdk.py": 1}
ANSWER = "Because of Rayleigh scattering, because of that."
MODELS = [
    arm["upstream_model"]
    for arm in yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))["policies"]["default"]["arms"]
]


@dataclass
class Gateway:
    """A made-up upstream. ``asked`` holds the models of its requests; the first ``failing`` get a 500."""

    url: str = ""
    asked: list[str] = field(default_factory=list)
    failing: int = 0


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    state = Gateway()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            assert self.path == "/v1/chat/completions"
            assert body["messages"][0]["role"] == "user"
            state.asked.append(body["model"])
            status = 200
            if state.failing:
                state.failing -= 1
                status = 500
            answer = {
                "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": body["model"],
                "choices": [{
                    "index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": ANSWER},
                }],
                "usage": {"prompt_tokens": 21, "completion_tokens": 9, "total_tokens": 30},
            }  # fmt: skip
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        state.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield state
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("examples")
    with own_daemon(database=f"sqlite:///{folder}/examples.db", config=ROOT / "config.yaml") as address:
        yield address


def get(url: str, path: str) -> Any:
    with urllib.request.urlopen(url + path) as answer:
        return json.load(answer)


def run(name: str, url: str, gateway: Gateway) -> str:
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        "BANDITD_URL": url,
        "OPENAI_BASE_URL": gateway.url,
        "OPENAI_API_KEY": "none",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # LiteLLM would fetch its price list otherwise
    }
    command = ["bash", str(EXAMPLES / name)] if name.endswith(".sh") else [sys.executable, str(EXAMPLES / name)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_example_is_tested_and_listed() -> None:
    files = {path.name for path in EXAMPLES.iterdir() if path.suffix in {".py", ".sh"}}
    assert files == set(NEEDS)
    listed = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert all(f"[{name}]({name})" in listed for name in files)


@pytest.mark.parametrize("name", sorted(NEEDS))
def test_an_example_calls_the_chosen_model_reports_and_rewards(name: str, url: str, gateway: Gateway) -> None:
    package = NEEDS[name]
    if package is not None and importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed here; 'pip install {package}' makes this example run")
    if name == "curl.sh" and shutil.which("curl") is None:
        pytest.skip("curl is not installed here")
    known = {row["decision_id"] for row in get(url, "/v1/decisions")["decisions"]}
    shown = run(name, url, gateway)
    assert ANSWER in shown
    made = [row for row in get(url, "/v1/decisions")["decisions"] if row["decision_id"] not in known]
    whole = [get(url, f"/v1/decisions/{row['decision_id']}") for row in made]
    assert len(whole) == len(gateway.asked) > 0
    assert sorted(row["upstream_model"] for row in whole) == sorted(gateway.asked)
    assert set(gateway.asked) <= set(MODELS)
    for row in whole:
        assert (row["usage"]["input_tokens"], row["usage"]["output_tokens"]) == (21, 9)
        assert row["usage"]["error"] is None
        assert row["usage"]["latency_ms"] is None or row["usage"]["latency_ms"] > 0
    assert sum(len(row["rewards"]) for row in whole) == REWARDS[name]


def test_a_fallback_that_answered_is_the_one_that_is_reported(url: str, gateway: Gateway) -> None:
    known = {row["decision_id"] for row in get(url, "/v1/decisions")["decisions"]}
    gateway.failing = 1
    run("client_async.py", url, gateway)
    made = [row for row in get(url, "/v1/decisions")["decisions"] if row["decision_id"] not in known]
    served = [get(url, f"/v1/decisions/{row['decision_id']}")["usage"]["served_arm"] for row in made]
    assert len(gateway.asked) == 4
    assert sum(arm is not None for arm in served) == 1
