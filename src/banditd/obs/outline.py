"""What may be known of a record or an exception that a library made: kinds and places, never its text.

Libraries put into their messages, arguments and exceptions whatever they were handed: a header, a key, a statement
with its parameters, the repr of a request. Nothing tells those words from harmless ones, so none is kept, but for
the beginnings of a few sentences that are known, and the messages of our own errors, which are written for clients.
"""

from __future__ import annotations

import logging
import traceback
from typing import Final

from banditd.core.errors import BanditdError

OURS: Final = "banditd"
LIBRARY_EVENT: Final = "library.logged"
_FRAMES: Final = 30
_CAUSES: Final = 5
# How sentences of libraries begin that help whoever runs the daemon; what follows is cut off.
_KNOWN: Final = (
    "Task exception was never retrieved", "Future exception was never retrieved", "Task was destroyed but it is",
    "Exception in callback", "Unhandled exception in", "socket.accept() out of system resource", "Executing",
    "Unclosed client session", "Unclosed connection", "Error handling request", "Unhandled exception",
    "Run time of job", "Execution of job", "Job ", "Error notifying listener", "Exception terminating connection",
    "Exception during reset or similar", "Error closing cursor", "The garbage collector is trying to clean up",
)  # fmt: skip


def is_ours(logger: str) -> bool:
    """Whether a logger's name is one of this package's."""
    return logger == OURS or logger.startswith("banditd.")


def outline_record(record: logging.LogRecord) -> dict[str, object]:
    """The fields of a library's record: how its sentence begins, where that is known."""
    message = record.msg
    known = next((start for start in _KNOWN if isinstance(message, str) and message.startswith(start)), None)
    return {} if known is None else {"about": known.strip()}


def outline_exception(error: BaseException | None) -> str:
    """The kinds of an exception and its causes, innermost first, and where each was raised."""
    parts: list[str] = []
    while error is not None and len(parts) < _CAUSES:
        frames = "".join(traceback.format_list(traceback.extract_tb(error.__traceback__)[-_FRAMES:]))
        parts.append(f"{frames}{describe(error)}")
        cause = error.__cause__
        error = cause if cause is not None or error.__suppress_context__ else error.__context__
    return "\n".join(reversed(parts))


def describe(error: BaseException) -> str:
    """Its kind; the message only of our own errors, the reason of the system's, the code of a database's."""
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    if isinstance(error, BanditdError):
        return f"{name}: {error.message}"
    if isinstance(error, OSError):
        return f"{name}: {error.strerror}" if error.strerror and error.errno else name
    if isinstance(error, BaseExceptionGroup):
        return f"{name}: {', '.join(describe(one) for one in error.exceptions[:_CAUSES])}"
    inner = getattr(error, "orig", error)
    code = getattr(inner, "sqlite_errorname", None) or getattr(inner, "sqlstate", None)
    return f"{name}: {code}" if isinstance(code, str) else name
