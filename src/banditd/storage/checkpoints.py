"""Checkpoints of SQLite's write-ahead log, off the writer's path. Nothing to do on PostgreSQL.

SQLite would checkpoint inside a commit, after every thousand pages: under load that is ten times a second, and each
time the requests of that commit wait for two syncs of the disk. Here a thread of its own copies the log into the
database about once a second while there are commits, which stops nobody. Only a log that has grown long, because the
commits never pause or because a reader held on to an old state, is started anew, which holds the writer for what came
in since the copy; its file is cut to nothing, for it would keep its greatest size for ever.

A commit that makes a file longer waits for the file system's own journal, too, which takes several times as long as
one that overwrites. So the file is kept longer than the log in it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final

from sqlalchemy import Engine

from banditd.core.errors import StorageUnavailableError
from banditd.storage import dialect

logger = logging.getLogger(__name__)

INTERVAL_S: Final = 1.0
LONG_LOG_PAGES: Final = 8_192  # 32 MB: a longer log makes every look-up slower
PAGE_BYTES: Final = 4_096
ROOM_PAGES: Final = 2_048  # 8 MB: more than a second of commits one by one
LOOK_AGAIN_S: Final = 5.0  # how soon a long log is looked at though nothing was committed
PATIENCE_S: Final = 0.05  # for readers, while the writer waits


class Checkpointer:
    """Copies the write-ahead log of one database, in a thread of its own."""

    def __init__(self, engine: Engine, log_bytes: Callable[[], int | None]) -> None:
        self._engine = engine
        self._log_bytes = log_bytes
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
            # A reader that held the log up may have ended since the last commit.
            self._wanted.wait(LOOK_AGAIN_S if self._is_long() else None)
            if self._stopping.wait(INTERVAL_S):
                return
            self._wanted.clear()
            if self._stopping.is_set():  # since it was looked at: its call to wake up is what was cleared
                return
            try:
                self.checkpoint()
            except (StorageUnavailableError, OSError) as error:  # a full disk, say: the next commit tells who asks
                logger.warning("checkpoint.failed", extra={"error": str(error)})

    def checkpoint(self) -> None:
        """Copy the log now; start it anew if it is long. Raises StorageUnavailableError."""
        pages, copied = dialect.copy_log(self._engine, "PASSIVE")
        if copied == pages >= 0 and self._is_long():
            dialect.copy_log(self._engine, "TRUNCATE", patience_s=PATIENCE_S)
        elif pages > LONG_LOG_PAGES and copied >= 0:
            dialect.copy_log(self._engine, "RESTART", patience_s=PATIENCE_S)
        elif pages >= 0:
            self._make_room(pages)

    def _make_room(self, pages: int) -> None:
        """Keep the file longer than its log of so many pages, as far as it is not long."""
        file_pages = (self._log_bytes() or 0) // PAGE_BYTES
        if file_pages - pages < ROOM_PAGES // 2 and file_pages + ROOM_PAGES < LONG_LOG_PAGES:
            dialect.lengthen_log(self._engine, ROOM_PAGES * PAGE_BYTES)

    def _is_long(self) -> bool:
        return (self._log_bytes() or 0) > LONG_LOG_PAGES * PAGE_BYTES
