"""Every name: what it does before, instead of or amid an answer. Scripts are the same on every surface."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

from bench.faulty.shapes import WORDS, ParsedRequest, Shape


@dataclass(frozen=True)
class Wait:
    """Say nothing for so long; None: until the caller hangs up."""

    seconds: float | None = None


@dataclass(frozen=True)
class Cut:
    """Close the connection as it is, in the middle of its framing."""


Step = bytes | Wait | Cut
Script = Callable[[Shape, ParsedRequest], Iterator[Step]]


@dataclass(frozen=True)
class Refusal:
    """An answer that is no answer."""

    status: int
    kind: str | None
    headers: Callable[[], Mapping[str, str]] = field(default=dict)
    content_type: str = "application/json"


@dataclass(frozen=True)
class Fault:
    """One name. ``ending``: how a client should see it through a gateway that has nobody else to ask.

    ``answer``: the whole answer; ``error``: an error, never an answer that looks whole; ``hang``: until one hangs up.
    """

    says: str
    script: Script | None = None
    refusal: Refusal | None = None
    ending: str = "error"


def _words(shape: Shape, asked: ParsedRequest) -> Iterator[Step]:
    yield from shape.begin(asked)
    for index in range(asked.n):
        for word in WORDS:
            yield shape.content(asked, word, index)


def _end(shape: Shape, asked: ParsedRequest) -> Iterator[Step]:
    for index in range(asked.n):
        yield from shape.finish(asked, index)
    yield from shape.usage(asked)
    yield from shape.done(asked)


def ok(shape: Shape, asked: ParsedRequest) -> Iterator[Step]:
    yield from _words(shape, asked)
    yield from _end(shape, asked)


def ok_long(shape: Shape, asked: ParsedRequest) -> Iterator[Step]:
    yield from shape.begin(asked)
    for number in range(200):
        yield shape.content(asked, f"{number} ")
    yield from _end(shape, asked)


def ok_slow(shape: Shape, asked: ParsedRequest) -> Iterator[Step]:
    yield from shape.begin(asked)
    for number in range(40):
        yield Wait(0.05)
        yield shape.content(asked, f"{number} ")
    yield from _end(shape, asked)


def ok_late(shape: Shape, asked: ParsedRequest) -> Iterator[Step]:
    yield Wait(1.0)
    yield from ok(shape, asked)


def ok_large(shape: Shape, asked: ParsedRequest) -> Iterator[Step]:
    yield from shape.begin(asked)
    for _ in range(400):
        yield shape.content(asked, "x" * 65_536)
    yield from _end(shape, asked)


def _with_ends(end: bytes) -> Script:
    def script(shape: Shape, asked: ParsedRequest) -> Iterator[Step]:
        for step in ok(shape, asked):
            yield step.replace(b"\n", end) if isinstance(step, bytes) else step

    return script


def ok_split(shape: Shape, asked: ParsedRequest) -> Iterator[Step]:
    for step in ok(shape, asked):
        if isinstance(step, bytes):
            for at in range(0, len(step), 7):  # characters of several bytes, and blank lines, come in halves
                yield step[at : at + 7]
                yield Wait(0.0)


def ok_joined(shape: Shape, asked: ParsedRequest) -> Iterator[Step]:
    yield b"".join(step for step in ok(shape, asked) if isinstance(step, bytes))


def ok_comments(shape: Shape, asked: ParsedRequest) -> Iterator[Step]:
    yield b": working on it\n\n"
    for step in ok(shape, asked):
        yield step
        yield b": still here\n\n"


def ok_lines(shape: Shape, asked: ParsedRequest) -> Iterator[Step]:
    for step in ok(shape, asked):
        if isinstance(step, bytes) and b'", "' in step:
            step = step.replace(b'", "', b'",\ndata: "', 1)  # noqa: PLW2901 - the same event on two lines
        yield step


def ok_no_done(shape: Shape, asked: ParsedRequest) -> Iterator[Step]:
    yield from _words(shape, asked)
    yield from shape.finish(asked)


def ok_no_usage(shape: Shape, asked: ParsedRequest) -> Iterator[Step]:
    yield from ok_no_done(shape, asked)
    yield from shape.done(asked)


def ok_odd_usage(shape: Shape, asked: ParsedRequest) -> Iterator[Step]:
    yield from _words(shape, asked)
    yield from shape.finish(asked, with_usage=True)
    yield from shape.done(asked)


def ok_no_choices(shape: Shape, asked: ParsedRequest) -> Iterator[Step]:
    first, second = shape.odd(asked)
    yield first
    yield from _words(shape, asked)
    yield second
    yield from _end(shape, asked)


def ok_empty(shape: Shape, asked: ParsedRequest) -> Iterator[Step]:
    yield from shape.begin(asked)
    yield from _end(shape, asked)


def ok_reasoning(shape: Shape, asked: ParsedRequest) -> Iterator[Step]:
    yield from shape.begin(asked)
    yield shape.reasoning(asked, "Let me think.")
    for word in WORDS:
        yield shape.content(asked, word)
    yield from _end(shape, asked)


def ok_tools(shape: Shape, asked: ParsedRequest) -> Iterator[Step]:
    yield from shape.begin(asked)
    yield from shape.tools(asked)
    yield from shape.usage(asked)
    yield from shape.done(asked)


def _after(count: int, *end: Step | str) -> Script:
    """That many content events (-1: not even the beginning), then these steps; a text is an error event's kind."""

    def script(shape: Shape, asked: ParsedRequest) -> Iterator[Step]:
        if count >= 0:
            yield from shape.begin(asked)
        for word in WORDS[: max(count, 0)]:
            yield shape.content(asked, word)
        for step in end:
            if isinstance(step, str):
                yield Wait(0.02)  # a read of its own
                yield shape.error(step)
            else:
                yield step

    return script


def done_early(shape: Shape, asked: ParsedRequest) -> Iterator[Step]:
    yield from _words(shape, asked)
    yield from shape.done(asked)


def finish_error(shape: Shape, asked: ParsedRequest) -> Iterator[Step]:
    yield from _words(shape, asked)
    yield from shape.finish(asked, reason="error")
    yield from shape.done(asked)


def stall_comments(shape: Shape, asked: ParsedRequest) -> Iterator[Step]:
    yield from _after(0)(shape, asked)
    while True:
        yield Wait(0.05)
        yield b": still here\n\n"


def endless(shape: Shape, asked: ParsedRequest) -> Iterator[Step]:
    yield from shape.begin(asked)
    while True:
        yield shape.content(asked, "and so on ")
        yield Wait(0.01)


def flood(shape: Shape, asked: ParsedRequest) -> Iterator[Step]:
    yield from shape.begin(asked)
    while True:
        yield shape.content(asked, "y" * 16_384)


def _in(seconds: float) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


def _healthy(says: str, script: Script) -> Fault:
    return Fault(says, script, ending="answer")


def _refused(says: str, status: int, kind: str | None, headers: Callable[[], Mapping[str, str]] = dict) -> Fault:
    return Fault(says, refusal=Refusal(status, kind, headers))


FAULTS: Mapping[str, Fault] = {
    "ok": _healthy("a short answer", ok),
    "ok-long": _healthy("200 events", ok_long),
    "ok-slow": _healthy("40 events, one every 50 ms", ok_slow),
    "ok-late": _healthy("says nothing for a second, not even a status, then answers", ok_late),
    "ok-large": _healthy("26 MB as fast as they are taken", ok_large),
    "ok-gzip": _healthy("compressed", ok),
    "ok-crlf": _healthy("lines end with CRLF", _with_ends(b"\r\n")),
    "ok-cr": _healthy("lines end with CR", _with_ends(b"\r")),
    "ok-split": _healthy("seven bytes at a time: characters and blank lines come in halves", ok_split),
    "ok-joined": _healthy("everything in one write", ok_joined),
    "ok-comments": _healthy("comments between the events", ok_comments),
    "ok-lines": _healthy("one event on several data lines", ok_lines),
    "ok-no-done": _healthy("no [DONE] behind its finish reason; but for chats an error", ok_no_done),
    "ok-no-usage": _healthy("never says its usage", ok_no_usage),
    "ok-odd-usage": _healthy("usage on the chunk with the finish reason", ok_odd_usage),
    "ok-no-choices": _healthy("events without choices, with an empty list, of no known type", ok_no_choices),
    "ok-empty": _healthy("an answer of no text", ok_empty),
    "ok-reasoning": _healthy("thinks before it answers", ok_reasoning),
    "ok-tools": _healthy("two tool calls, interleaved", ok_tools),
    "reset": Fault("hangs up before a status", _after(-1, Cut())),
    "silent": Fault("accepts, and never says anything", _after(-1, Wait())),
    "headers-silent": Fault("a good status, then nothing", _after(-1, b": hello\n\n", Wait())),
    "role-silent": Fault("the role, then nothing", _after(0, Wait())),
    "stall": Fault("two words, then nothing", _after(2, Wait())),
    "stall-comments": Fault("the role, then comments for ever", stall_comments),
    "eof-start": Fault("a good status and a clean end", _after(-1, b": hello\n\n")),
    "eof-role": Fault("the role and a clean end", _after(0)),
    "eof": Fault("two words and a clean end", _after(2)),
    "done-early": Fault("[DONE] without a finish reason", done_early),
    "finish-error": Fault("finish reason 'error' and [DONE]", finish_error),
    "cut-start": Fault("cut inside the framing after the status", _after(-1, b": hello\n\n", Cut())),
    "cut": Fault("cut inside the framing after two words", _after(2, Cut())),
    "malformed-start": Fault("an event that is not JSON at the start", _after(-1, b'data: {"choices": [\n\n')),
    "malformed": Fault("an event that is not JSON after two words", _after(2, b'data: {"choices": [\n\n', Wait())),
    "half-event": Fault("ends in the middle of an event", _after(2, b'data: {"id": "chatcm')),
    "bad-utf8": Fault("an event that is not UTF-8", _after(2, b'data: {"x": "\xff\xfe"}\n\n', Wait())),
    "huge-event": Fault("an event without an end", _after(1, b"data: " + b"z" * 3_000_000, Wait())),
    "error-first": Fault("a good status, then an error", _after(-1, "server")),
    "error-role": Fault("the role, then an error", _after(0, "server")),
    "error-second": Fault("two words, then an error", _after(2, "server")),
    "error-rate": Fault("a good status, then a rate limit", _after(0, "rate")),
    "error-quota": Fault("a good status, then an empty account", _after(0, "quota")),
    "error-context": Fault("a good status, then too long a prompt", _after(0, "context")),
    "endless": Fault("never ends", endless, ending="hang"),
    "flood": Fault("never ends, as fast as it is taken", flood, ending="hang"),
    "400": _refused("a bad request", 400, "request"),
    "400-context": _refused("the prompt is too long", 400, "context"),
    "400-context-llama": _refused("the same as llama.cpp says it", 400, "context-llama"),
    "400-policy": _refused("refused by a content filter", 400, "policy"),
    "400-quota": _refused("an empty account, told as a bad request", 400, "quota"),
    "422-unknown": _refused("a parameter that this endpoint does not know", 422, "unknown"),
    "401": _refused("the key is wrong", 401, "key"),
    "402": _refused("nobody has paid", 402, "quota"),
    "403": _refused("the key may not", 403, "key"),
    "404": _refused("there is no such model", 404, "model"),
    "429": _refused("too many requests", 429, "rate"),
    "429-after": _refused("too many requests: Retry-After 2", 429, "rate", lambda: {"Retry-After": "2"}),
    "429-after-ms": _refused("... retry-after-ms 100", 429, "rate", lambda: {"retry-after-ms": "100"}),
    "429-date": _refused("... Retry-After as a date", 429, "rate", lambda: {"Retry-After": _in(30)}),
    "429-quota": _refused("an empty account, told as a rate limit", 429, "quota"),
    "500": _refused("an error of the server", 500, "server"),
    "502": Fault("a proxy's page of HTML", refusal=Refusal(502, None, content_type="text/html")),
    "503": _refused("unavailable", 503, "server", lambda: {"Retry-After": "1"}),
    "529": _refused("overloaded", 529, "server"),
    "redirect": Fault(
        "sends the caller elsewhere",
        refusal=Refusal(307, None, lambda: {"Location": "http://127.0.0.1:9/v1/chat/completions"}),
    ),
    "html": Fault("a good status and a page of HTML", refusal=Refusal(200, None, content_type="text/html")),
    "json-error": Fault("a good status and an error object", refusal=Refusal(200, "server")),
}  # fmt: skip

ONCE = re.compile(r"once[:-](?P<fault>.+)")


def fault_of(model: str) -> tuple[str, bool]:
    """(name of the fault, whether only the first call has it). ``once-500`` fails once and is well afterwards.

    What stands behind a last ``@`` only tells arms apart: ``500@a`` and ``500@b`` are two models that fail alike.
    """
    model = model.split("@", maxsplit=1)[0]
    once = ONCE.fullmatch(model)
    return (once["fault"], True) if once else (model, False)
