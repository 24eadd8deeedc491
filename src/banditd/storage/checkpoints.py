"""Checkpoints of SQLite's write-ahead log, off the writer's path. Nothing to do on PostgreSQL.

SQLite would checkpoint inside a commit, after every thousand pages: under load that is ten times a second, and each
time the requests of that commit wait for two syncs of the disk. Here a thread of its own copies the log into the
database about once a second while there are commits, which stops nobody. Only a log that has grown long because the
commits never pause is restarted, which holds the writer for what came in since the copy.
"""

from __future__ import annotations

import logging
import threading
from typing import Final

from sqlalchemy import Engine

from banditd.core.errors import StorageUnavailableError
from banditd.storage import dialect

logger = logging.getLogger(__name__)

INTERVAL_S: Final = 1.0
LONG_LOG_PAGES: Final = 8_192  # 32 MB: a longer log makes every look-up slower


class Checkpointer:
    """Copies the write-ahead log of one database, in a thread of its own."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._wanted = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin, where the database has a log to copy."""
        if dialect.is_sqlite(self._engine.url):
            self._thread = threading.Thread(target=self._run, name="banditd-checkpoint", daemon=True)
            self._thread.start()

    def committed(self) -> None:
        """Something was committed: a copy is due within INTERVAL_S."""
        if not self._wanted.is_set():
            self._wanted.set()

    def stop(self) -> None:
        """End; closing the last connection copies what is left."""
        self._stopping.set()
        self._wanted.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while True:
            self._wanted.wait()
            if self._stopping.wait(INTERVAL_S):
                return
            self._wanted.clear()
            try:
                self.checkpoint()
            except StorageUnavailableError as error:
                logger.warning("checkpoint.failed", extra={"error": error.message})

    def checkpoint(self) -> None:
        """Copy the log now; start it anew if it is long. Raises StorageUnavailableError."""
        pages, copied = dialect.copy_log(self._engine, "PASSIVE")
        if pages > LONG_LOG_PAGES and copied >= 0:
            dialect.copy_log(self._engine, "RESTART")
