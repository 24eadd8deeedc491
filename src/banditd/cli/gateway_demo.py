"""``banditd simulate --gateway``: a daemon whose gateway answers at once, without a key, and the first call to it.

Where no upstream is configured, a real small model answers if it is there (``make smollm``), else the built-in echo.
"""

from __future__ import annotations

import json
import socket
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from banditd.cli.options import read_settings

if TYPE_CHECKING:
    from banditd.settings import Settings

QUESTION = "Why is the sky blue?"
CALL_S = 60.0
ECHO = "the built-in echo, which is no model: it answers with the question"
SMOLLM = "SmolLM2, a real model of 135 million parameters on this machine: slow, and seldom right"


def serve_gateway(url: str, config: Path | None) -> None:
    """Serve until Ctrl-C, with a database of its own; print a first call and its answer."""
    from banditd.daemon.serve import run
    from banditd.simulate import smollm

    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="banditd-demo-"))
        overrides = {"server.port": _free_port(url), "database.url": f"sqlite:///{folder}/banditd.db"}
        settings, small = read_settings(config, {**overrides, "logging.level": "WARNING"}), False
        if not settings.upstreams and (small := smollm.installed()):
            settings = with_smollm(settings, stack.enter_context(smollm.serving()))
        settings = with_echo(settings)
        echo = all(upstream.kind == "echo" for upstream in settings.upstreams.values())
        who = SMOLLM if small else ECHO if echo else "the configured upstreams"
        run(settings, started=lambda at: threading.Thread(target=_first_call, args=(at, who), daemon=True).start())


def with_smollm(settings: Settings, urls: Mapping[int, str]) -> Settings:
    """The same configuration, but for the policy ``default``: its arms are the small model, one for each window.

    urls : context window in tokens to the server's base URL.
    """
    from banditd.settings import PolicySettingsSection, Settings
    from banditd.simulate.smollm import MODEL

    upstreams = {f"smollm-{window}": {"kind": "openai", "base_url": url} for window, url in urls.items()}
    arms = [
        {
            "arm": f"smollm-{window}", "upstream": f"smollm-{window}", "upstream_model": MODEL,
            "context_window_tokens": window, "expected_output_tokens": 64, "expected_latency_ms": 5000,
            # Made up: who has more to read is dearer.
            "price": {"usd_per_mtok_in": window / 10_000, "usd_per_mtok_out": window / 5_000},
        }
        for window in urls
    ]  # fmt: skip
    policies = {**settings.policies, "default": PolicySettingsSection.model_validate({"arms": arms})}
    parts: dict[str, Any] = dict(settings)
    return Settings(**parts | {"upstreams": upstreams, "policies": policies})


def with_echo(settings: Settings) -> Settings:
    """The same configuration; where it names no upstream, every arm of ``default`` is behind the built-in echo."""
    from banditd.settings import Settings
    from banditd.settings.arms import ArmSettings

    if settings.upstreams:
        return settings
    policy = settings.policies["default"]
    arms = policy.arms or (ArmSettings(arm="small"), ArmSettings(arm="large"))
    behind = tuple(arm.model_copy(update={"upstream": "echo"}) for arm in arms)
    policies = {**settings.policies, "default": policy.model_copy(update={"arms": behind})}
    parts: dict[str, Any] = dict(settings)
    return Settings(**parts | {"upstreams": {"echo": {"kind": "echo"}}, "policies": policies})


def _free_port(url: str) -> int:
    """The port of the URL, or any where another process has it."""
    port = urlsplit(url).port or 0
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return 0
    return port


def _first_call(url: str, who: str) -> None:
    body = {"model": "banditd/auto", "messages": [{"role": "user", "content": QUESTION}]}
    request = urllib.request.Request(  # noqa: S310 - our own address
        f"{url}/v1/chat/completions", data=json.dumps(body).encode(), headers={"content-type": "application/json"}
    )
    click.echo(f"the gateway serves on {url}/v1, in front of {who}\n\n{curl(url)}\n")
    try:
        with urllib.request.urlopen(request, timeout=CALL_S) as answer:  # noqa: S310
            stated = json.loads(answer.read())
            arm, decision_id = answer.headers["x-banditd-arm"], answer.headers["x-banditd-decision-id"]
    except (OSError, urllib.error.HTTPError) as error:
        click.echo(f"that call failed: {error}")
    else:
        text = stated["choices"][0]["message"]["content"]
        click.echo(f"answered just now by the arm {arm}: {text}\nthe decision: {url}/#/decisions?id={decision_id}\n")
    if who == ECHO:
        click.echo("for a real model, small and slow:  make smollm\n")
    click.echo('In an application only base_url changes:  OpenAI(base_url="' + url + '/v1", api_key="none")')
    click.echo("stop with Ctrl-C; docs/gateway.md tells how to name your own upstreams")


def curl(url: str) -> str:
    """The call, to be typed."""
    return (
        f"curl {url}/v1/chat/completions -H 'Content-Type: application/json' \\\n"
        f"""  -d '{{"model": "banditd/auto", "messages": [{{"role": "user", "content": "{QUESTION}"}}]}}'"""
    )
