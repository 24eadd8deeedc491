"""A real daemon in a thread of its own, behind faults that tests order: lost answers, 503s, dropped connections."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field

import pytest
from aiohttp import web

from banditd.daemon.open import open_services
from banditd.settings import Settings
from banditd.web.app import WebSettings, create_app

ARMS = [
    {"arm": "small", "upstream_model": "vendor/small-1", "price": {"usd_per_mtok_in": 0.1, "usd_per_mtok_out": 0.4}},
    {"arm": "large", "upstream_model": "vendor/large-1", "price": {"usd_per_mtok_in": 3.0, "usd_per_mtok_out": 15.0}},
]


@dataclass
class Faults:
    """What the next requests meet, one fault each: ``lose`` (done, but the answer is lost), ``drop``, or a status.

    seen : (method, path, Idempotency-Key) of every request that arrived.
    """

    plan: deque[str | int] = field(default_factory=deque)
    seen: list[tuple[str, str, str | None]] = field(default_factory=list)
    retry_after: str = "0"

    @web.middleware
    async def middleware(self, request: web.Request, handler: object) -> web.StreamResponse:
        self.seen.append((request.method, request.path, request.headers.get("Idempotency-Key")))
        fault = self.plan.popleft() if self.plan else None
        if isinstance(fault, int):
            return web.Response(status=fault, headers={"Retry-After": self.retry_after}, text="busy")
        if fault == "lose":
            await handler(request)  # type: ignore[operator]
        if fault is not None:
            assert request.transport is not None
            request.transport.abort()
        return await handler(request) if fault is None else web.Response()  # type: ignore[operator, no-any-return]


@dataclass
class LiveDaemon:
    url: str
    faults: Faults


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveDaemon]:
    folder = tmp_path_factory.mktemp("client")
    settings = Settings(
        database={"url": f"sqlite:///{folder}/client.db"},
        learner={"pause_ms": 0, "poll_s": 0.25},
        policies={"default": {"arms": ARMS, "kind": "uniform", "breaker_errors": 0}},
    )
    faults = Faults()
    app = create_app(lambda: open_services(settings, start_jobs=False), WebSettings(access_log=False))
    app.middlewares.insert(0, faults.middleware)
    url: Future[str] = Future()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        runner = web.AppRunner(app)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            url.set_result("http://127.0.0.1:{1}".format(*runner.addresses[0]))
            await stop.wait()
        finally:
            await runner.cleanup()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    yield LiveDaemon(url.result(30), faults)
    loop.call_soon_threadsafe(stop.set)
    thread.join()
    loop.close()


@pytest.fixture
def daemon(running: LiveDaemon) -> Iterator[LiveDaemon]:
    running.faults.plan.clear()
    running.faults.seen.clear()
    running.faults.retry_after = "0"
    yield running
    assert not running.faults.plan, "a fault that was ordered was never met"
