"""LiteLLM's real proxy with the hook of examples/litellm_proxy: banditd chooses, hears of usage and of failures."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from bench.gateway import servers
from bench.proxy import free_port

from banditd.cli.process import own_daemon, stop_daemon

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "litellm_proxy"
pytestmark = pytest.mark.skipif(
    not servers.litellm_there(), reason="LiteLLM's proxy is not installed here: make litellm (half a gigabyte)"
)
ARMS = ("ok@a", "ok@b", "500@c", "ok-slow@d")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The proxy's URL, and banditd's."""
    folder = tmp_path_factory.mktemp("litellm")
    arms = [{"arm": name, "price": {"usd_per_mtok_in": 1.0, "usd_per_mtok_out": 2.0}} for name in ARMS]
    policies = {
        "default": {"kind": "fixed", "options": {"arm": "ok@b"}, "exploration_floor": 0.0, "arms": arms},
    }  # fmt: skip
    config = folder / "banditd.yaml"
    config.write_text(yaml.safe_dump({"policies": policies}), encoding="utf-8")
    with (
        servers.upstream() as up,
        own_daemon(database=f"sqlite:///{folder}/hook.db", config=config) as url,
        proxied(folder, up.base, url) as proxy,
    ):
        yield proxy, url


@contextmanager
def proxied(folder: Path, upstream: str, banditd: str) -> Iterator[str]:
    shutil.copy(EXAMPLE / "banditd_hook.py", folder)
    config = yaml.safe_load((EXAMPLE / "config.yaml").read_text(encoding="utf-8"))
    config["model_list"] = [
        _deployment("two", "ok@a", upstream), _deployment("two", "ok@b", upstream),
        _deployment("failing", "500@c", upstream), _deployment("failing", "ok@a", upstream),
        _deployment("slow", "ok-slow@d", upstream), {**_deployment("other", "ok@x", upstream), "model_info": {}},
    ]  # fmt: skip
    config["general_settings"]["pass_through_endpoints"][0]["target"] = f"{banditd}/v1/rewards"
    (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {
        "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
        "BANDITD_URL": banditd, "BANDITD_TIMEOUT_S": "10", "OPENAI_API_KEY": "none", "BANDITD_KEY": "any",
    }  # fmt: skip
    command = [str(servers.LITELLM), "--config", "config.yaml", "--host", "127.0.0.1", "--port", str(port)]
    with (folder / "proxy.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
        try:
            servers._wait_for(f"http://127.0.0.1:{port}/health/liveliness", process, folder / "proxy.log")
            yield f"http://127.0.0.1:{port}"
        finally:
            stop_daemon(process)


def _deployment(group: str, arm: str, upstream: str) -> dict[str, Any]:
    return {
        "model_name": group,
        "litellm_params": {"model": f"openai/{arm}", "api_base": upstream, "api_key": "none"},
        "model_info": {"banditd_arm": arm},
    }


def ask(proxy: str, model: str, *, stream: bool = False, **more: Any) -> tuple[dict[str, str], str]:
    body = {"model": model, "stream": stream, "messages": [{"role": "user", "content": "Say hello."}], **more}
    return post(f"{proxy}/v1/chat/completions", body)


def post(url: str, body: dict[str, Any]) -> tuple[dict[str, str], str]:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        return {name.lower(): value for name, value in answer.headers.items()}, answer.read().decode()


def settled(banditd: str, decision_id: str) -> dict[str, Any]:
    while True:
        with urllib.request.urlopen(f"{banditd}/v1/decisions/{decision_id}") as answer:
            found: dict[str, Any] = json.load(answer)
        if found["usage"] is not None:
            return found
        time.sleep(0.1)


def test_banditd_chooses_and_hears_what_was_used(stack: tuple[str, str]) -> None:
    proxy, banditd = stack
    for stream in (False, True):
        headers, answer = ask(proxy, "two", stream=stream)
        assert "Hel" in answer
        assert headers["x-banditd-arm"] == "ok@b"
        found = settled(banditd, headers["x-banditd-decision-id"])
        assert (found["arm"], found["usage"]["error"]) == ("ok@b", None)
        assert (found["usage"]["input_tokens"], found["usage"]["output_tokens"]) == (11, 5)
        assert [one["arm"] for one in found["attempts"]] == ["ok@b"]


def test_a_failure_is_an_attempt_and_the_next_of_the_decision_is_called(stack: tuple[str, str]) -> None:
    proxy, banditd = stack
    headers, answer = ask(proxy, "failing")
    assert "Hel" in answer
    found = settled(banditd, headers["x-banditd-decision-id"])
    assert found["attempts"][-1]["arm"] == "ok@a"
    assert found["attempts"][-1]["error"] is None
    assert all(one["error"] == "server" for one in found["attempts"][:-1])


def test_feedback_goes_through_the_proxy_by_the_answers_id_or_the_clients_own_and_counts_once(
    stack: tuple[str, str],
) -> None:
    proxy, banditd = stack
    headers, answer = ask(proxy, "two", metadata={"banditd_reference": "message-17"})
    decision_id = headers["x-banditd-decision-id"]
    settled(banditd, decision_id)
    for reference, duplicate in ((json.loads(answer)["id"], False), ("message-17", True)):
        receipt = json.loads(post(f"{proxy}/banditd/rewards", {"reference": reference, "thumb": "up"})[1])
        assert (receipt["decision_id"], receipt["duplicate"]) == (decision_id, duplicate)


def test_a_decision_that_the_client_brings_hears_of_the_calls_made_for_it(stack: tuple[str, str]) -> None:
    proxy, banditd = stack
    errors = {"ok@a": None, "ok@b": None, "500@c": "server"}
    for group in ("two", "failing"):
        decided = json.loads(post(f"{banditd}/v1/route", {"input": "Say hello."})[1])["decision_id"]
        try:
            headers, _ = ask(proxy, group, metadata={"banditd_decision_id": decided})
        except urllib.error.HTTPError as error:  # LiteLLM may try the failing one again and again
            assert group == "failing"
            error.close()
        else:
            assert headers["x-banditd-decision-id"] == decided
        attempts = settled(banditd, decided)["attempts"]
        assert attempts
        for one in attempts:
            assert (one["error"], one["output_tokens"] is None) == (errors[one["arm"]], one["arm"] == "500@c")


def test_a_group_without_arms_is_left_alone(stack: tuple[str, str]) -> None:
    proxy, _ = stack
    headers, answer = ask(proxy, "other")
    assert "Hel" in answer
    assert "x-banditd-decision-id" not in headers


def test_without_banditd_litellm_goes_on(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        gone = f"http://127.0.0.1:{closed.getsockname()[1]}"
    with servers.upstream() as up, proxied(tmp_path, up.base, gone) as proxy:
        for _ in range(2):
            headers, answer = ask(proxy, "two")
            assert "Hel" in answer
            assert "x-banditd-decision-id" not in headers
    assert "banditd could not be asked" in (tmp_path / "proxy.log").read_text(errors="replace")
