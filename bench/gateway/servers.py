"""The processes of the bench: the fault upstream, and before it a bare proxy, banditd, and LiteLLM where it is."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from banditd.cli.process import stop_daemon
from bench.faulty.faults import FAULTS
from bench.http import Server, started
from bench.proxy import free_port

ROOT = Path(__file__).resolve().parents[2]
LITELLM = Path(os.environ.get("LITELLM_BIN", ROOT / ".venv-gateway-bench" / "bin" / "litellm"))
SPEED_MODELS = ("ok", "ok-slow", "ok-long", "stall")
ARMS = 5
UNDER_BUDGET = "ok-budget"
OTHER = "other tree"
LITELLM_WAIT_S = 180.0
PRICE = {"usd_per_mtok_in": 100.0, "usd_per_mtok_out": 1000.0}
SHORT = {"connect_s": 2.0, "headers_s": 2.0, "first_token_s": 2.0, "idle_s": 2.0, "answer_s": 3.0, "total_s": 8.0}


@dataclass(frozen=True, slots=True)
class Subject:
    """Something that answers chat completions. ``models`` : the name by which it knows each model of the upstream."""

    name: str
    server: Server
    models: Mapping[str, str]

    @property
    def base(self) -> str:
        return f"{self.server.url}/v1"


@contextmanager
def upstream() -> Iterator[Subject]:
    with _listening([sys.executable, "-m", "bench.faulty"]) as server:
        yield Subject("direct", server, {name: name for name in FAULTS})


@contextmanager
def bare(up: Subject) -> Iterator[Subject]:
    with _listening([sys.executable, "-m", "bench.gateway.bare", up.base]) as server:
        yield Subject("bare aiohttp proxy", server, up.models)


@contextmanager
def banditd(up: Subject, folder: Path, name: str = "gateway", *, tree: Path | None = None) -> Iterator[Subject]:
    """With default settings; every model of the speed part is a policy of five arms, every fault an arm.

    ``ok`` is answered without a budget, as LiteLLM's proxy does it; ``ok-budget`` is the same under one of all calls.
    tree : a work tree whose daemon it is, in place of this one's.
    """
    with started(write_config(up, folder / f"{name}.yaml"), folder, name=name, level="ERROR", tree=tree) as server:
        policies = {model: f"banditd/{policy_of(model)}" for model in (*SPEED_MODELS, UNDER_BUDGET)}
        models = {model: f"banditd/faults/arm/{model}" for model in FAULTS} | policies
        yield Subject("banditd" if tree is None else OTHER, server, models)


def write_config(up: Subject, path: Path) -> Path:
    policies: dict[str, Any] = {
        policy_of(model): {"arms": [_arm("up", f"{model}@{number}") for number in range(ARMS)]}
        for model in SPEED_MODELS
    }
    policies[UNDER_BUDGET] = {"arms": [_arm("up", f"ok@{number}") for number in range(ARMS)]}
    policies["faults"] = {"arms": [_arm("short", model) for model in FAULTS], "breaker_errors": 0}
    for name, policy in policies.items():
        if name != policy_of("ok"):
            policy["budgets"] = [{"name": "all", "usd": 1e9, "per": "month", "of": "all"}]
    config = {
        "upstreams": {"up": {"base_url": up.base}, "short": {"base_url": up.base, "timeouts": SHORT}},
        "gateway": {"keepalive_s": 2.0, "max_streams_per_key": 4000},
        "policies": policies,
    }
    config["upstreams"]["up"] |= {"max_concurrent": 4000, "timeouts": {"idle_s": 600.0}}
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


def litellm_there() -> bool:
    return LITELLM.exists()


@contextmanager
def litellm(up: Subject, folder: Path) -> Iterator[Subject]:
    """LiteLLM's proxy with one process, no database, its logging quiet: its fastest form."""
    models = [
        {"model_name": model, "litellm_params": {"model": f"openai/{model}", "api_base": up.base, "api_key": "none"}}
        for model in FAULTS
    ]
    settings = {"litellm_settings": {"telemetry": False, "num_retries": 0, "request_timeout": 5}}
    config = folder / "litellm.yaml"
    config.write_text(yaml.safe_dump({"model_list": models, **settings}), encoding="utf-8")
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {
        "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
        "LITELLM_LOG": "ERROR",
    }  # fmt: skip
    with (folder / "litellm.log").open("wb") as log:
        process = subprocess.Popen(
            [str(LITELLM), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)],
            stdout=log, stderr=log, env=environment, cwd=folder,
        )  # fmt: skip
        try:
            url = f"http://127.0.0.1:{port}"
            _wait_for(f"{url}/health/liveliness", process, folder / "litellm.log")
            yield Subject("LiteLLM proxy", Server(url, process.pid), {model: model for model in FAULTS})
        finally:
            stop_daemon(process)


@contextmanager
def everybody(folder: Path, against: Path | None = None) -> Iterator[list[Subject]]:
    """All that can be had here, the upstream itself first. against : another work tree's daemon is among them."""
    with ExitStack() as stack:
        up = stack.enter_context(upstream())
        subjects = [up, stack.enter_context(bare(up)), stack.enter_context(banditd(up, folder))]
        if against is not None:
            subjects.append(stack.enter_context(banditd(up, folder, "other", tree=against)))
        if litellm_there():
            subjects.append(stack.enter_context(litellm(up, folder)))
        yield subjects


def litellm_version() -> str:
    if not litellm_there() or shutil.which(str(LITELLM)) is None:
        return "not installed"
    code = "import importlib.metadata as m; print(m.version('litellm'))"
    done = subprocess.run([str(LITELLM.with_name("python")), "-c", code], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "?"


def policy_of(model: str) -> str:
    return "default" if model == "ok" else model


def _arm(upstream_name: str, model: str) -> dict[str, Any]:
    return {"arm": model, "upstream": upstream_name, "upstream_model": model, "price": PRICE}


@contextmanager
def _listening(command: list[str]) -> Iterator[Server]:
    # What their clients break off at the end of a run is not worth a traceback each.
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT)
    try:
        assert process.stdout is not None
        line = process.stdout.readline().decode()
        found = re.search(r"http://[\d.]+:\d+", line)
        if found is None:
            raise RuntimeError(f"{command[2]} did not start: {line!r}")
        yield Server(found[0], process.pid)
    finally:
        stop_daemon(process)


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until_s = time.monotonic() + LITELLM_WAIT_S
    while time.monotonic() < until_s and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.5)
    raise RuntimeError(f"LiteLLM's proxy did not start: {log.read_text(errors='replace')[-1500:]}")
