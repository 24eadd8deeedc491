"""A whole daemon over HTTP whose arms are models of the fault upstream, and that upstream in this process."""

from __future__ import annotations

import asyncio
import functools
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpcore2
import pytest
from aiohttp import web
from tests.patience import PATIENT

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # bench/ is not installed

from bench.faulty.app import Faulty, serving

from banditd.daemon.open import Daemon, open_services
from banditd.daemon.serve import web_settings
from banditd.settings import Settings
from banditd.web.app import create_app

# A client of OpenAI or Anthropic reads every certificate authority of the machine: once for all of them.
httpcore2.default_ssl_context = functools.cache(httpcore2.default_ssl_context)

KEY = "sk-upstream-0123456789abcdef"
PRICE = {"usd_per_mtok_in": 100.0, "usd_per_mtok_out": 1000.0}
# Short clocks are for faults that only a clock ends, and each for what never comes: everything else is late on a busy
# machine, and not absent.
NO_STATUS = {"headers_s": 0.4, "first_token_s": 0.4, "answer_s": 0.6}
NO_CONTENT = {"first_token_s": 0.4, "answer_s": 0.6}
NO_END = {"idle_s": 0.4, "answer_s": 0.6}
CLOCKS = {
    "silent": NO_STATUS, "headers-silent": NO_CONTENT, "role-silent": NO_CONTENT, "stall-comments": NO_CONTENT,
    "stall": NO_END, "malformed": NO_END, "bad-utf8": NO_END, "huge-event": NO_END,
}  # fmt: skip


@dataclass(frozen=True)
class Served:
    """A daemon that serves at ``url``; ``base`` is what a client's base_url is."""

    url: str
    daemon: Daemon
    settings: Settings

    @property
    def base(self) -> str:
        return f"{self.url}/v1"

    async def decision(self, decision_id: str) -> dict[str, Any]:
        found = await self.daemon.services.reports.decision(decision_id)
        return dict(found)


Serve = Callable[..., AbstractAsyncContextManager[Served]]


@pytest.fixture
async def faulty() -> AsyncIterator[Faulty]:
    async with serving() as server:
        yield server


@asynccontextmanager
async def serve_daemon(settings: Settings) -> AsyncIterator[Served]:
    """The real application over the real services, on a free port."""
    opened: list[Daemon] = []

    @asynccontextmanager
    async def open_daemon() -> AsyncIterator[Daemon]:
        async with open_services(settings, start_jobs=False) as daemon:
            opened.append(daemon)
            yield daemon

    app = create_app(open_daemon, web_settings(settings))
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=settings.server.shutdown_timeout_s)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield Served(f"http://127.0.0.1:{runner.addresses[0][1]}", opened[0], settings)
    finally:
        await runner.cleanup()


def printed_until(process: subprocess.Popen[str], last: str) -> str:
    """What a process prints, up to the line that has ``last`` in it."""
    printed = ""
    assert process.stdout is not None
    for line in process.stdout:
        printed += line
        if last in line:
            break
    return printed


async def settling(served: Served) -> None:
    """Wait for the settlements that are on their way; that of an answer just read may begin a moment later."""
    await asyncio.sleep(0.005)
    gateway = served.daemon.services.gateway
    assert gateway is not None
    await gateway.settled()


def arm(model: str, **more: Any) -> dict[str, Any]:
    """An arm behind the fault upstream that is named as its fault."""
    return {"arm": model, "upstream": "up", "upstream_model": model, "price": PRICE, **more}


@pytest.fixture
def serve(faulty: Faulty, sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> Serve:
    """``async with serve("500", "ok") as served``: arms in the order in which they are to be asked.

    timeouts : of their upstream. short_clocks : an upstream of its own for each arm that only a clock ends.
    """
    monkeypatch.setenv("UPSTREAM_KEY", KEY)

    @asynccontextmanager
    async def start(
        *models: str | dict[str, Any],
        timeouts: dict[str, float] | None = None,
        short_clocks: bool = False,
        gateway: dict[str, Any] | None = None,
        upstream: dict[str, Any] | None = None,
        more_policies: dict[str, Any] | None = None,
        **sections: Any,
    ) -> AsyncIterator[Served]:
        arms = [arm(one) if isinstance(one, str) else one for one in models]
        first = arms[0]["arm"]
        policy = {"kind": "fixed", "options": {"arm": first}, "exploration_floor": 0.0, "arms": arms}
        policy |= sections.pop("policy", {})
        up = {"base_url": faulty.url, "api_key_env": "UPSTREAM_KEY", "timeouts": timeouts or {}, **(upstream or {})}
        clocks: dict[str, Any] = {}
        for one in arms if short_clocks else []:
            if (fault := one["upstream_model"]) in CLOCKS:
                one["upstream"] = f"clocks-of-{fault}"
                clocks[one["upstream"]] = {**up, "timeouts": CLOCKS[fault]}
        settings = Settings(
            database={"url": sqlite_url, **PATIENT},  # type: ignore[arg-type]
            learner={"pause_ms": 0, "poll_s": 0.25, "lease_s": 2},  # type: ignore[arg-type]
            upstreams={"up": up, **clocks, **sections.pop("upstreams", {})},
            gateway=gateway or {},  # type: ignore[arg-type]
            server={"shutdown_timeout_s": 1.5, **sections.pop("server", {})},  # type: ignore[arg-type]
            policies={"default": policy, **(more_policies or {})},  # type: ignore[dict-item]
            **sections,
        )
        async with AsyncExitStack() as stack:
            yield await stack.enter_async_context(serve_daemon(settings))

    return start
