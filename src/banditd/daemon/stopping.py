"""The end of the process, in time: on a signal it drains and closes, and if that hangs it ends all the same."""

from __future__ import annotations

import logging
import os
import threading
from typing import Final

from banditd.obs.logs import flush_logs
from banditd.settings import ServerSettings

logger = logging.getLogger(__name__)
CLOSE_S: Final = 5.0  # for what is left when no request runs any more: jobs, the learner, the database
FORCED: Final = 1  # exit code


def longest_stop_s(server: ServerSettings) -> float:
    """How long after the signal the process ends at the latest."""
    return server.drain_s + server.shutdown_timeout_s + CLOSE_S


class LastResort:
    """Ends the process when stopping takes longer than it may. What was acknowledged is in the database already."""

    def __init__(self, server: ServerSettings) -> None:
        self._seconds = longest_stop_s(server)
        self._timer: threading.Timer | None = None

    def begin(self) -> None:
        """The signal has come: the time runs. A thread, because the event loop may be what hangs."""
        if self._timer is None:
            self._timer = threading.Timer(self._seconds, self._end)
            self._timer.daemon = True
            self._timer.start()

    def call_off(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _end(self) -> None:
        logger.error("server.stop_forced", extra={"seconds": self._seconds})
        flush_logs()  # a thread writes them, and it ends here too
        os._exit(FORCED)
