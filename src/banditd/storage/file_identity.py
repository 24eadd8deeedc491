"""Whether the file that SQLite writes to is still the one that the configuration names.

An open file follows a rename and outlives its deletion: everything would be answered, and would leave with it. One
look at the directory entry costs a microsecond, so every commit is preceded by one.
"""

from __future__ import annotations

import os
from pathlib import Path

from banditd.core.errors import StorageUnavailableError


class FileIdentity:
    """The database file and its write-ahead log, as they were when they were seen first."""

    def __init__(self, path: Path) -> None:
        self._path = path.absolute()
        self._log = Path(f"{self._path}-wal")
        self._file_id = _identity(self._path)
        self._log_id: tuple[int, int] | None = None

    def check(self) -> None:
        """Raise StorageUnavailableError (code ``DATABASE_FILE_LOST``) where another file, or none, has the name."""
        found = _identity(self._path)
        if self._file_id is None:
            self._file_id = found
        elif found != self._file_id:
            raise _lost(self._path, found)
        log = _identity(self._log)
        if self._log_id is None:
            self._log_id = log
        elif log != self._log_id:
            raise _lost(self._log, log)

    def log_bytes(self) -> int:
        """Size of the write-ahead log; 0 where there is none."""
        try:
            return self._log.stat().st_size
        except OSError:
            return 0


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - runs before every commit, and is twice as fast
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _lost(path: Path, found: tuple[int, int] | None) -> StorageUnavailableError:
    became = "is gone" if found is None else "was replaced by another file"
    return StorageUnavailableError(
        f"The database file {path.name} {became} while the daemon was using it: nothing was stored. Put the file "
        "back where it was, or stop the daemon and start it on the file that shall count.",
        code="DATABASE_FILE_LOST",
        retry_after_s=30.0,
    )
