"""A stream from an upstream: events as they came, an honest ending, and one timer for all its clocks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Self

import aiohttp

from banditd.core.attempts import ErrorClass
from banditd.ports.upstreams import StreamEvent, UpstreamError
from banditd.upstreams.config import UpstreamConfig
from banditd.upstreams.dialect import ErrorEventError, MalformedEventError, StreamReader
from banditd.upstreams.errors import from_event
from banditd.upstreams.headers import downward
from banditd.upstreams.sse import EventTooLargeError, Frame, Framer

# After the last content an upstream sends its usage and says goodbye, or it never will.
_GOODBYE_S: Final = 5.0


class StreamClock:
    """First token, idle and total time of one stream with a single timer that is set again only when it fires.

    Idle time counts only while somebody waits for the upstream: a slow client is not the upstream's fault.
    """

    def __init__(
        self, expire: Callable[[], None], *, first_token_at_s: float, idle_s: float, total_at_s: float
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._expire = expire
        self._first_token_at_s: float | None = first_token_at_s
        self._idle_s = idle_s
        self.idle_at_s: float | None = None
        self._total_at_s = total_at_s
        self.expired: str | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._arm(min(first_token_at_s, total_at_s, self._loop.time() + idle_s))

    def wait(self) -> None:
        """Somebody begins to wait for the upstream."""
        self.idle_at_s = self._loop.time() + self._idle_s

    def began(self) -> None:
        """The first content is here."""
        self._first_token_at_s = None

    def say_goodbye(self) -> None:
        """The answer is whole: what still comes must come soon."""
        self._total_at_s = min(self._total_at_s, self._loop.time() + _GOODBYE_S)
        self._arm(self._total_at_s)

    def stop(self) -> None:
        """No more timers."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self, at_s: float) -> None:
        self.stop()
        self._timer = self._loop.call_at(at_s, self._look)

    def _look(self) -> None:
        limits: list[tuple[float, str]] = [(self._total_at_s, "timeout_total")]
        if self._first_token_at_s is not None:
            limits.append((self._first_token_at_s, "timeout_first_token"))
        elif self.idle_at_s is not None:
            limits.append((self.idle_at_s, "timeout_idle"))
        at_s, named = min(limits)
        now_s = self._loop.time()
        if at_s <= now_s:
            self.expired = named
            self._timer = None
            self._expire()
        else:
            # Where nobody waits now, somebody may in a moment.
            self._arm(min(at_s, now_s + self._idle_s))


class HttpStream:
    """``ports.upstreams.UpstreamStream`` over one response."""

    def __init__(
        self,
        response: aiohttp.ClientResponse,
        reader: StreamReader,
        *,
        config: UpstreamConfig,
        first_token_at_s: float,
        total_at_s: float,
        left: Callable[[], None],
    ) -> None:
        self.headers: Mapping[str, str] = downward(response.headers.items())
        self._response = response
        self._reader = reader
        self._config = config
        self._framer = Framer(max_event_bytes=config.max_event_bytes)
        self._left: Callable[[], None] | None = left
        self._failure: UpstreamError | None = None
        self._began = False
        self._over = False
        self._clock = StreamClock(
            response.close,
            first_token_at_s=first_token_at_s,
            idle_s=config.clocks.idle_s,
            total_at_s=total_at_s,
        )

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Sequence[StreamEvent]:
        clock, content = self._clock, self._response.content
        while self._failure is None and not self._over:
            clock.wait()
            try:
                data = await content.readany()
            except (aiohttp.ClientError, OSError) as error:
                data = b""
                self._broke(error)
            finally:
                clock.idle_at_s = None
            if clock.expired is not None:
                data = b""
                self._expired(clock.expired)
            elif self._began and self._framer.awaits(data) and (event := self._reader.known(data)) is not None:
                return (event,)
            events = self._events(data)
            if events := [*events, *self._rest()] if self._over else events:
                return events
        self.close()
        if self._failure is not None:
            raise self._failure
        raise StopAsyncIteration

    def close(self) -> None:
        """Hang up, unless the upstream has come to its end: then the connection serves again."""
        self._clock.stop()
        if self._left is not None:
            self._left()
            self._left = None
            if self._over and self._response.content.at_eof():
                self._response.release()
            else:
                self._response.close()

    def _events(self, data: bytes) -> list[StreamEvent]:
        """The events of one read; what ends the stream is noted, for after them."""
        if self._failure is not None or self._over:
            return []
        events: list[StreamEvent] = []
        try:
            if data:
                for frame in self._framer.feed(data):
                    self._read(frame, events)
            else:
                rest = self._framer.rest()
                if rest is not None:
                    self._read(rest, events)
                self._end()
        except EventTooLargeError:
            self._fail("server", "event_too_large", "sent an event that is too large")
        except MalformedEventError as error:
            self._fail("server", str(error), "sent an event that cannot be read")
        except ErrorEventError as error:
            self._failure = from_event(self._config.name, error.error, secret=self._config.key)
        return events

    def _read(self, frame: Frame, events: list[StreamEvent]) -> None:
        event = self._reader.read(frame)
        events.append(event)
        if not self._began and (event.content or event.finish_reason is not None):
            self._began = True
            self._clock.began()
        if self._reader.ended and not self._reader.finished:
            # Proxies say this after a model that broke off.
            events.pop()
            self._fail("server", "no_finish_reason", "ended its stream without a finish reason")
            return
        if (event.finish_reason is not None or self._reader.ended) and self._reader.finished:
            self._clock.say_goodbye()

    def _rest(self) -> Sequence[StreamEvent]:
        """What a translation still has to say, once, behind a whole answer."""
        return self._reader.rest() if self._over else ()

    def _end(self) -> None:
        """The connection ended cleanly; whether the answer did is another question."""
        if self._reader.finished:
            self._over = True
        else:
            self._fail("server", "ended_early", "ended its stream before the answer was whole")

    def _broke(self, error: Exception) -> None:
        if self._clock.expired is not None:
            return
        if self._reader.finished:  # nothing is missing but a goodbye
            self._over = True
        else:
            code = "cut" if isinstance(error, aiohttp.ClientPayloadError) else "reset"
            self._fail("transport", code, f"broke off in the middle of its stream ({code})")

    def _expired(self, named: str) -> None:
        if self._reader.finished:
            self._over = True
        else:
            self._fail("timeout", named, f"was silent for too long ({named})")

    def _fail(self, error_class: ErrorClass, code: str, what: str) -> None:
        self._failure = UpstreamError(f"the upstream {self._config.name} {what}", error_class=error_class, code=code)
