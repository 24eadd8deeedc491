"""The listening process: sockets, signals, drain. It serves ``web.app``, which runs on ``daemon.open``.

On SIGTERM or SIGINT: not ready at once, answer on for ``server.drain_s``, then close the listener, finish the
running requests, fold what is in hand and close the database.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from banditd import __version__
from banditd.core.errors import ConfigurationError, InvariantError
from banditd.daemon.heap import Heap
from banditd.daemon.open import Daemon, open_services
from banditd.daemon.reload import Reloader
from banditd.daemon.signals import RELOAD, STOP, on_signals
from banditd.daemon.stopping import LastResort
from banditd.obs.logs import configure_logging, flush_logs, log_uncaught
from banditd.obs.tracing import tracing_from
from banditd.settings import Settings
from banditd.web.api import GatewayWebSettings, WebSettings
from banditd.web.app import create_app
from banditd.web.connection import Runner
from banditd.web.security import ApiKey
from banditd.web.tracing import traced

logger = logging.getLogger(__name__)


def web_settings(settings: Settings) -> WebSettings:
    """The part of the settings that the web layer needs, as plain values."""
    server, gateway = settings.server, settings.gateway
    return WebSettings(
        api_keys=tuple(
            ApiKey(name=k.name, sha256=k.sha256.get_secret_value(), scopes=frozenset(k.scopes))
            for k in server.api_keys
        ),
        max_body_bytes=server.max_body_bytes,
        max_input_chars=server.max_input_chars,
        max_batch=server.max_batch,
        max_page=server.max_page,
        trace_as_task=server.trace_as_task,
        rate_limit_per_s=server.rate_limit_per_s,
        rate_limit_burst=server.rate_limit_burst,
        access_log=settings.logging.access,
        allowed_hosts=server.allowed_hosts,
        bound_host=server.host,
        body_timeout_s=server.body_timeout_s,
        header_timeout_s=server.header_timeout_s,
        write_timeout_s=server.write_timeout_s,
        public_url=server.public_url,
        shutdown_timeout_s=server.shutdown_timeout_s,
        gateway=GatewayWebSettings(
            aliases=gateway.aliases,
            max_body_bytes=gateway.max_body_bytes,
            keepalive_s=gateway.keepalive_s,
            max_streams_per_key=gateway.max_streams_per_key,
            prompt_cache_s=gateway.prompt_cache_s,
            own_ids=gateway.response_id == "decision",
            embeddings=gateway.embeddings,
        ),
    )


def run(
    settings: Settings,
    *,
    started: Callable[[str], None] = lambda _: None,
    read_again: Callable[[], Settings] | None = None,
) -> None:
    """Serve until a signal ends it. ``started`` is told the base URL once requests are answered.

    ``read_again`` gives the settings anew at SIGHUP; without it nothing is read again.
    """
    configure_logging(settings.logging.level, settings.logging.format)
    log_uncaught()
    _warn_of_names(settings)
    # A thread that has just committed waits for the interpreter at most this long, not the default 5 ms.
    sys.setswitchinterval(0.0005)
    try:
        import uvloop  # noqa: PLC0415 - absent on some platforms
    except ImportError:
        asyncio.run(serve(settings, started=started, read_again=read_again))
    else:
        uvloop.run(serve(settings, started=started, read_again=read_again))


async def serve(
    settings: Settings,
    *,
    started: Callable[[str], None] = lambda _: None,
    read_again: Callable[[], Settings] | None = None,
) -> None:
    """Run the daemon in the current event loop until SIGTERM or SIGINT."""
    stop, hangup = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    last_resort = LastResort(settings.server)

    def stop_requested() -> None:
        last_resort.begin()
        stop.set()

    on_signals(loop, STOP, stop_requested)
    on_signals(loop, RELOAD, hangup.set)
    opened: list[Daemon] = []
    tracing = tracing_from(os.environ, version=__version__)

    @asynccontextmanager
    async def open_daemon() -> AsyncIterator[Daemon]:
        async with open_services(settings, tracing=tracing) as daemon:
            opened.append(daemon)
            yield daemon

    outside = [] if tracing is None else [traced(tracing)]
    app = create_app(open_daemon, web_settings(settings), outside=outside)
    runner = _runner(app, settings)
    # The port first: a daemon that cannot serve has not touched the database.
    listener = await bind(runner, settings)
    try:
        await runner.setup()
        url = await _listen(runner, listener, settings)
        heap = Heap()
        heap.settle()  # before anybody waits
        tending = asyncio.create_task(heap.tend())
        changed = settings.model_dump(mode="json", exclude_defaults=True)
        logger.info("server.started", extra={"url": url, "changed_settings": changed})
        flush_logs()  # so that the line for people comes last
        started(url)
        reloader = Reloader(settings, read_again or (lambda: settings), opened[0].jobs)
        reloading = asyncio.create_task(reloader.run(hangup))
        await stop.wait()
        reloading.cancel()
        tending.cancel()
        logger.info("server.draining", extra={"drain_s": settings.server.drain_s})
        opened[0].health.draining = True
        if settings.server.drain_s:
            await asyncio.sleep(settings.server.drain_s)
        opened[0].storage.database.hurry()
    finally:
        listener.close()
        await runner.cleanup()
        if tracing is not None:
            await asyncio.to_thread(tracing.close)
        last_resort.call_off()
        logger.info("server.stopped")


def _runner(app: web.Application, settings: Settings) -> Runner:
    server = settings.server
    return Runner(
        app,
        header_timeout_s=server.header_timeout_s,
        write_timeout_s=server.write_timeout_s,
        handle_signals=False,
        access_log=None,
        keepalive_timeout=server.keepalive_s,
        shutdown_timeout=server.shutdown_timeout_s,
    )


class BoundSite(web.BaseSite):
    """A site of the runner over a listener that has its port already."""

    def __init__(self, runner: web.AppRunner, listener: asyncio.Server) -> None:
        super().__init__(runner)
        self._listener = self._server = listener

    @property
    def name(self) -> str:
        """Its address, for the runner's own messages."""
        return str(self._runner.addresses)

    async def start(self) -> None:
        """Take connections."""
        await super().start()
        await self._listener.start_serving()


async def bind(runner: web.AppRunner, settings: Settings) -> asyncio.Server:
    """Take the port without taking connections. Raises ConfigurationError where it cannot be had."""
    server = settings.server

    def connect() -> web.RequestHandler:
        made = runner.server
        if made is None:
            raise InvariantError("a connection came before the application was ready")
        return made()

    try:
        return await asyncio.get_running_loop().create_server(connect, server.host, server.port, start_serving=False)
    except OSError as error:
        raise _cannot_listen(settings, error) from error


async def _listen(runner: web.AppRunner, listener: asyncio.Server, settings: Settings) -> str:
    try:
        await BoundSite(runner, listener).start()
    except OSError as error:
        raise _cannot_listen(settings, error) from error
    host, port = listener.sockets[0].getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _cannot_listen(settings: Settings, error: OSError) -> ConfigurationError:
    server = settings.server
    return ConfigurationError(
        f"cannot listen on {server.host}:{server.port}: {error.strerror or error}. "
        "Choose another port with --port or BANDITD_SERVER__PORT."
    )


def _warn_of_names(settings: Settings) -> None:
    server = settings.server
    if server.allow_unauthenticated and not server.api_keys and not server.allowed_hosts:
        logger.warning(
            "server.names_missing",
            extra={
                "setting": "server.allowed_hosts",
                "mend": "without API keys the daemon answers to localhost, 127.0.0.1 and ::1 only: list the names "
                "and addresses that clients use in server.allowed_hosts, or configure server.api_keys",
            },
        )
