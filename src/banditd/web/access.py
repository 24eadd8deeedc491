"""One log line per request, gathered for a quarter of a second and written in one go.

Logging each request by itself would cost as much as the rest of the HTTP layer. Failures of the daemon are
written at once. Nothing of a request's content is in a line: no query string, no header but the request's id.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Final

from banditd.obs.logs import write_events

logger = logging.getLogger("banditd.web")

EVENT: Final = "request.answered"
_WAIT_S: Final = 0.25
_MOST: Final = 1000


class AccessLog:
    """``everything`` False logs failures (400 and above) only."""

    def __init__(self, *, everything: bool) -> None:
        self._everything = everything
        self._waiting: list[tuple[float, Mapping[str, object]]] = []
        self._timer: asyncio.TimerHandle | None = None

    def wants(self, status: int) -> bool:
        """Whether a request answered with this status gets a line."""
        return (self._everything or status >= 400) and logger.isEnabledFor(logging.INFO)

    def add(self, fields: Mapping[str, object], *, failed: bool) -> None:
        """Note one request; ``failed`` means by the daemon's fault."""
        if failed:
            self.flush()
            write_events(logger, logging.WARNING, EVENT, [(time.time(), fields)])
            return
        self._waiting.append((time.time(), fields))
        if len(self._waiting) >= _MOST:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_WAIT_S, self.flush)

    def flush(self) -> None:
        """Write what is waiting; called by the timer, and when the application ends."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiting:
            entries, self._waiting = self._waiting, []
            write_events(logger, logging.INFO, EVENT, entries)
