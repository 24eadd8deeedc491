"""One upstream over HTTP: a session of its own, clocks for every phase, and errors in classes.

Nothing is logged here: what upstreams say may quote prompts, and what is sent to them holds keys.
"""

from __future__ import annotations

import asyncio
import io
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Self

import aiohttp

from banditd import __version__
from banditd.core.long_json import apart
from banditd.ports.upstreams import OPTIONAL, Surface, UpstreamCall, UpstreamError, UpstreamReply
from banditd.upstreams.config import UpstreamConfig
from banditd.upstreams.connections import CONNECTED, Connected, ReuseConnector
from banditd.upstreams.dialect import Answer, Dialect, ErrorEventError, MalformedEventError
from banditd.upstreams.errors import MAX_ERROR_BYTES, from_answer, from_event
from banditd.upstreams.headers import downward, upward
from banditd.upstreams.stream import HttpStream

JSON: Final = "application/json"
EVENTS: Final = "text/event-stream"
SURFACE_UNSUPPORTED: Final = "surface_unsupported"
_NOT_THERE: Final = frozenset({404, 405, 501})


class HttpUpstream:
    """Calls one upstream. Opened and closed by ``upstreams/pool.py``."""

    def __init__(self, config: UpstreamConfig, dialects: Mapping[Surface, Dialect]) -> None:
        self.config = config
        self._dialects = dialects
        self._session: aiohttp.ClientSession | None = None
        self._in_flight = 0

    @property
    def surfaces(self) -> frozenset[Surface]:
        """Where it can answer."""
        return frozenset(self._dialects)

    def unable(self, surface: Surface, body: Mapping[str, object]) -> str | None:
        """Why it cannot answer this request; None where it can."""
        dialect = self._dialects.get(surface)
        if dialect is None:
            return SURFACE_UNSUPPORTED
        what = dialect.uncarried(body)
        return None if what is None else f"untranslatable:{what}"

    async def __aenter__(self) -> Self:
        config = self.config
        context: ssl.SSLContext | bool = True
        if config.ca_file is not None:
            context = await asyncio.to_thread(ssl.create_default_context, cafile=str(config.ca_file))
        self._session = aiohttp.ClientSession(
            connector=ReuseConnector(
                limit=config.max_concurrent + 1, keepalive_timeout=config.keepalive_s, ssl=context
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(
                total=None, connect=config.clocks.connect_s, sock_connect=config.clocks.connect_s
            ),
            headers={**config.headers, **config.key_headers(), "user-agent": f"banditd/{__version__}"},
            raise_for_status=False,
            trust_env=False,
            auto_decompress=True,
        )
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def complete(self, call: UpstreamCall) -> UpstreamReply:
        """The whole answer. Raises UpstreamError."""
        clocks, dialect = self.config.clocks, self._dialects[call.surface]
        limit_s = min(clocks.answer_s, clocks.total_s, call.deadline_s)
        late = "timeout_headers" if limit_s == clocks.answer_s else "timeout_total"
        self._enter()
        response: aiohttp.ClientResponse | None = None
        connected = Connected()
        try:
            async with asyncio.timeout(limit_s) as clock:
                connected.cleared = _clearing(call, clock, limit_s)
                response = await self._post(call, dialect, connected, stream=False)
                connected.reused = False  # from here on an answer has begun: not to be asked for again
                body = await _bounded(response, self.config.max_answer_bytes, self.config.name)
            answer = self._read(body, call, dialect)
        except TimeoutError as error:
            raise self._late(error, late, limit_s) from None
        except (aiohttp.ClientError, OSError) as error:
            raise self._broken(error, connected) from None
        finally:
            self._leave()
            if response is not None:
                response.release()
        return answer.reply(
            status=response.status,
            headers=downward(response.headers.items()),
            content_type=response.headers.get("content-type", JSON),
        )

    async def stream(self, call: UpstreamCall) -> HttpStream:
        """An answer that has begun. Raises UpstreamError."""
        clocks, dialect = self.config.clocks, self._dialects[call.surface]
        total_s = min(clocks.total_s, call.deadline_s)
        headers_s = max(clocks.headers_s, call.first_token_s or 0.0)
        limit_s = min(headers_s, total_s)
        late = "timeout_headers" if limit_s == headers_s else "timeout_total"
        self._enter()
        response: aiohttp.ClientResponse | None = None
        connected = Connected()
        try:
            async with asyncio.timeout(limit_s) as clock:
                connected.cleared = _clearing(call, clock, limit_s)
                response = await self._post(call, dialect, connected, stream=True)
                await self._require_events(response, call, dialect)
        except BaseException as error:
            self._leave()
            if response is not None:
                response.close()
            if isinstance(error, TimeoutError):
                raise self._late(error, late, limit_s) from None
            if isinstance(error, aiohttp.ClientError | OSError):
                raise self._broken(error, connected) from None
            raise
        began_s = (clock.when() or 0.0) - limit_s
        return HttpStream(
            response,
            dialect.reader(call),
            config=self.config,
            first_token_at_s=began_s + (call.first_token_s or clocks.first_token_s),
            total_at_s=began_s + total_s,
            left=self._leave,
        )

    async def _post(
        self, call: UpstreamCall, dialect: Dialect, connected: Connected, *, stream: bool
    ) -> aiohttp.ClientResponse:
        """The head of a good answer. Raises UpstreamError for any other status."""
        assert self._session is not None  # noqa: S101 - opened by the pool
        headers = upward(call.headers, self.config.forward_headers)
        headers |= {"content-type": JSON, "accept": EVENTS if stream else JSON}
        data = await apart(call.large, dialect.write, call, stream=stream)
        CONNECTED.set(connected)
        response = await self._session.post(
            self.config.base_url.rstrip("/") + dialect.path,
            data=io.BytesIO(data) if call.large else data,  # in pieces: one write would copy all of it at once
            headers=headers,
            allow_redirects=False,
        )
        if 200 <= response.status < 300:
            return response
        try:
            body = await _beginning(response, MAX_ERROR_BYTES)
        finally:
            response.release()
        lower = {name.lower(): value for name, value in response.headers.items()}
        error = from_answer(self.config.name, response.status, lower, body, now_s=time.time(), secret=self.config.key)
        # Many endpoints that answer chats serve none of these: that is no illness, and a breaker is for all surfaces.
        error.healthy = response.status in _NOT_THERE and call.surface in OPTIONAL
        raise error

    async def _require_events(self, response: aiohttp.ClientResponse, call: UpstreamCall, dialect: Dialect) -> None:
        """A stream was asked for: what is answered in one piece is an error, perhaps one that says why."""
        # Not asked for more strictly: some send no type, or a plain one, and then a good stream.
        if not response.content_type.endswith(("json", "html")):
            return
        body = await _bounded(response, MAX_ERROR_BYTES, self.config.name)
        self._read(body, call, dialect)
        raise UpstreamError(
            f"the upstream {self.config.name} did not answer with a stream",
            error_class="server",
            code="not_a_stream",
            status=response.status,
        )

    def _read(self, body: bytes, call: UpstreamCall, dialect: Dialect) -> Answer:
        try:
            return dialect.read(body, call)
        except ErrorEventError as error:
            raise from_event(self.config.name, error.error, secret=self.config.key) from None
        except MalformedEventError as error:
            raise UpstreamError(
                f"the upstream {self.config.name} sent an answer that cannot be read",
                error_class="server",
                code=str(error),
            ) from None

    def _enter(self) -> None:
        if self._in_flight >= self.config.max_concurrent:
            raise UpstreamError(
                f"{self._in_flight} calls of the upstream {self.config.name} are running already",
                error_class="overload",
                code="max_concurrent",
                local=True,
            )
        self._in_flight += 1

    def _leave(self) -> None:
        self._in_flight -= 1

    def _late(self, error: TimeoutError, late: str, limit_s: float) -> UpstreamError:
        name = self.config.name
        if isinstance(error, aiohttp.ServerTimeoutError):
            text = f"no connection to the upstream {name} within {self.config.clocks.connect_s:g} s"
            return UpstreamError(text, error_class="timeout", code="timeout_connect")
        text = f"the upstream {name} did not answer within {limit_s:g} s"
        return UpstreamError(text, error_class="timeout", code=late)

    def _broken(self, error: Exception, connected: Connected) -> UpstreamError:
        code = transport_code(error)
        stale = connected.reused and code in {"disconnected", "reset"}
        text = f"the connection to the upstream {self.config.name} failed ({code})"
        return UpstreamError(text, error_class="transport", code=code, retry_same=stale)


def _clearing(call: UpstreamCall, clock: asyncio.Timeout, limit_s: float) -> Callable[[], Awaitable[None]] | None:
    """What a call waits for before it is sent; its time begins behind that."""
    cleared = call.cleared
    if cleared is None:
        return None

    async def clear() -> None:
        clock.reschedule(None)
        await cleared()
        clock.reschedule(asyncio.get_running_loop().time() + limit_s)

    return clear


def transport_code(error: Exception) -> str:
    """A short name for what happened to a connection."""
    names: tuple[tuple[type[Exception], str], ...] = (
        (aiohttp.ClientConnectorDNSError, "dns"),
        (aiohttp.ClientSSLError, "tls"),
        (aiohttp.ClientConnectorError, "connect"),
        (aiohttp.ServerDisconnectedError, "disconnected"),
        (aiohttp.ClientPayloadError, "cut"),
        (aiohttp.ClientOSError, "reset"),
        (aiohttp.ClientResponseError, "not_http"),
        (ConnectionError, "reset"),
    )
    return next((name for kind, name in names if isinstance(error, kind)), "transport")


async def _bounded(response: aiohttp.ClientResponse, most: int, name: str) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in response.content.iter_any():
        size += len(part)
        if size > most:
            response.close()
            raise UpstreamError(
                f"the upstream {name} sent more than {most} bytes", error_class="server", code="answer_too_large"
            )
        parts.append(part)
    return b"".join(parts)


async def _beginning(response: aiohttp.ClientResponse, most: int) -> bytes:
    """What says why a call has failed; less of it where that fails, too."""
    stated = b""
    try:
        async for part in response.content.iter_any():
            stated += part
            if len(stated) >= most:
                break
    except (aiohttp.ClientError, OSError):
        return stated
    return stated[:most]
