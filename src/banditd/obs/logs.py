"""Structured logging on the standard library: one JSON object (or one readable line) per event.

Event names are ``noun.verb`` and are the message; everything else travels in ``extra``. What a request is
about (``request_id``, ``decision_id``, ``policy``) is held in context variables and added to every line.
Not a place for content: prompt text, request headers and API keys are never passed to a logger.
"""

from __future__ import annotations

import json
import logging
import sys
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


class JsonFormatter(logging.Formatter):
    """One JSON object per line: ``at``, ``level``, ``logger``, ``event``, then the fields."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "at": _timestamp(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **event_fields(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return _encode(line)


class TextFormatter(logging.Formatter):
    """The same for people: time, level, event, then ``name=value`` pairs."""

    def format(self, record: logging.LogRecord) -> str:
        fields = " ".join(f"{name}={_one_line(str(value))}" for name, value in event_fields(record).items())
        event = _one_line(record.getMessage())
        line = f"{_timestamp(record.created)} {record.levelname:<7} {event} {fields}".rstrip()
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


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


def _timestamp(seconds: float) -> str:
    whole = int(seconds)
    return f"{_second(whole)}.{int((seconds - whole) * 1000):03d}Z"


@lru_cache(maxsize=8)
def _second(whole: int) -> str:
    return datetime.fromtimestamp(whole, UTC).replace(tzinfo=None).isoformat()


def _one_line(text: str) -> str:
    """Control characters escaped, so that no value can forge a second line."""
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")
