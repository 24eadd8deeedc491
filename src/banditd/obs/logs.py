"""Structured logging on the standard library: one JSON object (or one readable line) per event.

Event names are ``noun.verb`` and are the message; everything else travels in ``extra``. What a request is
about (``request_id``, ``decision_id``, ``policy``) is held in context variables and added to every line.
Not a place for content: prompt text, request headers and API keys are never passed to a logger.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, TextIO

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
decision_id: ContextVar[str | None] = ContextVar("decision_id", default=None)
policy: ContextVar[str | None] = ContextVar("policy", default=None)

_CONTEXT: Final = {"request_id": request_id, "decision_id": decision_id, "policy": policy}
_STANDARD: Final = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
# Fields whose names promise content or secrets are dropped even when somebody passes them.
_NEVER: Final = frozenset(
    {"authorization", "api_key", "headers", "prompt", "text", "input", "input_text", "messages"}
)


_encode = json.JSONEncoder(default=str, ensure_ascii=False, separators=(",", ":")).encode


def event_fields(record: logging.LogRecord) -> dict[str, object]:
    """The context and the extras of a record, without what must never be logged.

    Parameters
    ----------
    record : logging.LogRecord
        As the standard library's logging makes it.

    Returns
    -------
    Field name to value: the context, then the extras by name.
    """
    fields: dict[str, object] = {}
    for name, variable in _CONTEXT.items():
        value = variable.get()
        if value is not None:
            fields[name] = value
    extras = record.__dict__
    for name in sorted(extras.keys() - _STANDARD):
        if name.lower() not in _NEVER:
            fields[name] = extras[name]
    return fields


class LineFormatter(logging.Formatter):
    """Base of our formatters: a line can also be made without a record, for events that come by thousands."""

    def line(self, at_s: float, level: str, logger: str, event: str, fields: Mapping[str, object]) -> str:
        """One event as one line. ``at_s``: seconds since the Unix epoch; ``level``: a name, upper case."""
        raise NotImplementedError


class JsonFormatter(LineFormatter):
    """One JSON object per line: ``at``, ``level``, ``logger``, ``event``, then the fields."""

    def line(self, at_s: float, level: str, logger: str, event: str, fields: Mapping[str, object]) -> str:
        head = {"at": _timestamp(at_s), "level": level.lower(), "logger": logger, "event": event}
        return _encode({**head, **fields})

    def format(self, record: logging.LogRecord) -> str:
        fields = event_fields(record)
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return self.line(record.created, record.levelname, record.name, record.getMessage(), fields)


class TextFormatter(LineFormatter):
    """The same for people: time, level, event, then ``name=value`` pairs."""

    def line(self, at_s: float, level: str, logger: str, event: str, fields: Mapping[str, object]) -> str:
        shown = " ".join(f"{name}={_one_line(str(value))}" for name, value in fields.items())
        return f"{_timestamp(at_s)} {level:<7} {_one_line(event)} {shown}".rstrip()

    def format(self, record: logging.LogRecord) -> str:
        line = self.line(record.created, record.levelname, record.name, record.getMessage(), event_fields(record))
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def write_events(
    logger: logging.Logger, level: int, event: str, entries: Sequence[tuple[float, Mapping[str, object]]]
) -> None:
    """Write many events of one kind in one go: a quarter of the cost of logging each.

    Parameters
    ----------
    logger : logging.Logger
        In whose name; its level must have been asked before.
    level : int
        Of all of them.
    event : str
        Its name, ``noun.verb``.
    entries : sequence of (float, mapping)
        Seconds since the Unix epoch, and the fields (no content, no secrets), oldest first.
    """
    name = logging.getLevelName(level)
    for handler in logging.getLogger().handlers:
        formatter = handler.formatter
        if isinstance(handler, logging.StreamHandler) and isinstance(formatter, LineFormatter):
            lines = [formatter.line(at_s, name, logger.name, event, fields) for at_s, fields in entries]
            with handler.lock or nullcontext():
                handler.stream.write("\n".join(lines) + "\n")
                handler.flush()
            continue
        for _, fields in entries:  # somebody else's handler: records as usual
            handler.handle(logger.makeRecord(logger.name, level, "", 0, event, (), None, extra=fields))


def configure_logging(level: str = "INFO", format: str = "json", stream: TextIO | None = None) -> None:  # noqa: A002 - the setting's own name
    """Send everything that is logged in this process to one stream. Calling it again replaces the former.

    Parameters
    ----------
    level : str
        A level name of the standard library, any case.
    format : str
        ``json`` or ``text``.
    stream : TextIO, optional
        Where to; standard error by default.

    Raises
    ------
    ValueError
        For an unknown level or format.
    """
    formatters: dict[str, type[logging.Formatter]] = {"json": JsonFormatter, "text": TextFormatter}
    if format not in formatters:
        raise ValueError(f"the log format is json or text, not {format!r}")
    handler = logging.StreamHandler(stream if stream is not None else sys.stderr)
    handler.setFormatter(formatters[format]())
    root = logging.getLogger()
    root.setLevel(level.upper())
    for former in list(root.handlers):
        root.removeHandler(former)
    root.addHandler(handler)
    # What no formatter of ours shows need not be looked up for each line: it is half of a line's cost.
    # (The standard library's own recipe: its logging how-to, "Optimization".)
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None  # noqa: SLF001 - the recipe's name for "no caller"
    # We write our own access line; the library's would carry the query string and cost a format per request.
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
    # Two lines for every run of every job, several a second: job_run and /metrics have them, failures are logged.
    logging.getLogger("apscheduler").setLevel(logging.WARNING)


def _timestamp(seconds: float) -> str:
    whole = int(seconds)
    return f"{_second(whole)}.{int((seconds - whole) * 1000):03d}Z"


@lru_cache(maxsize=8)
def _second(whole: int) -> str:
    return datetime.fromtimestamp(whole, UTC).replace(tzinfo=None).isoformat()


def _one_line(text: str) -> str:
    """Control characters escaped, so that no value can forge a second line."""
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")
