"""Structured logging on the standard library: one JSON object (or one readable line) per event.

Event names are ``noun.verb`` and are the message; everything else travels in ``extra``. What a request is
about (``request_id``, ``decision_id``, ``policy``) is held in context variables and added to every line.
Not a place for content: prompt text, request headers and API keys are never passed to a logger of ours. What
libraries log passes one filter (``outline.py``) that keeps none of its text. Writing never waits (``log_writer.py``).
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import Final, TextIO

from banditd.core.times import iso_second
from banditd.obs.log_writer import LogHandler
from banditd.obs.outline import LIBRARY_EVENT, OURS, is_ours, outline_exception, outline_record

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
    if not is_ours(record.name):
        return fields | outline_record(record)
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
            fields["exception"] = outline_exception(record.exc_info[1])
        return self.line(record.created, record.levelname, record.name, _event(record), fields)


class TextFormatter(LineFormatter):
    """The same for people: time, level, event, then ``name=value`` pairs."""

    def line(self, at_s: float, level: str, logger: str, event: str, fields: Mapping[str, object]) -> str:
        shown = " ".join(f"{name}={_one_line(str(value))}" for name, value in fields.items())
        return f"{_timestamp(at_s)} {level:<7} {_one_line(event)} {shown}".rstrip()

    def format(self, record: logging.LogRecord) -> str:
        line = self.line(record.created, record.levelname, record.name, _event(record), event_fields(record))
        return f"{line}\n{outline_exception(record.exc_info[1])}" if record.exc_info else line


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
        if isinstance(handler, LogHandler) and isinstance(formatter, LineFormatter):
            handler.write_lines([formatter.line(at_s, name, logger.name, event, fields) for at_s, fields in entries])
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
    formatters: dict[str, type[LineFormatter]] = {"json": JsonFormatter, "text": TextFormatter}
    if format not in formatters:
        raise ValueError(f"the log format is json or text, not {format!r}")
    formatter = formatters[format]()

    def tell_dropped(lines: int) -> str:
        return formatter.line(time.time(), "WARNING", __name__, "log.dropped", {"lines": lines})

    set_level(level)
    handler = LogHandler(stream if stream is not None else sys.stderr, tell_dropped=tell_dropped)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    # What libraries say below a warning would be nothing but its level, without its text.
    root.setLevel(logging.WARNING)
    for former in list(root.handlers):
        root.removeHandler(former)
        if isinstance(former, LogHandler):
            former.close()
    root.addHandler(handler)
    # What no formatter of ours shows need not be looked up for each line: it is half of a line's cost.
    # (The standard library's own recipe: its logging how-to, "Optimization".)
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None  # noqa: SLF001 - the recipe's name for "no caller"


def set_level(level: str) -> None:
    """The lowest level of our own events, any case. Raises ValueError for an unknown one."""
    logging.getLogger(OURS).setLevel(level.upper())


def log_uncaught() -> None:
    """What ends a thread or a finaliser is logged as everything else is, without its text, not printed."""
    crashes = logging.getLogger(__name__)

    def thread(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None and not isinstance(args.exc_value, SystemExit):
            crashes.error("thread.crashed", exc_info=args.exc_value)

    def unraisable(args: sys.UnraisableHookArgs) -> None:
        if args.exc_value is not None:
            crashes.error("finaliser.crashed", exc_info=args.exc_value)

    logging.captureWarnings(True)
    threading.excepthook = thread
    sys.unraisablehook = unraisable


def flush_logs() -> None:
    """Wait, for a second at most, until what was logged is written."""
    for handler in logging.getLogger().handlers:
        handler.flush()


def dropped_lines() -> int:
    """Lines of the log that nobody took, since the start of the process."""
    return sum(handler.dropped for handler in logging.getLogger().handlers if isinstance(handler, LogHandler))


def _event(record: logging.LogRecord) -> str:
    return record.getMessage() if is_ours(record.name) else LIBRARY_EVENT


def _timestamp(seconds: float) -> str:
    whole = int(seconds)
    return f"{iso_second(whole)}.{int((seconds - whole) * 1000):03d}Z"


def _one_line(text: str) -> str:
    """Control characters escaped, so that no value can forge a second line."""
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")
