"""SQLite files and folders that are made here are their owner's alone: they hold the secret that keys hashes.

SQLite would make a file that everybody may read. What is there already keeps the mode that it was given.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import Final

FILE_MODE: Final = 0o600
FOLDER_MODE: Final = 0o700


def make_folder(folder: Path) -> None:
    """The folder, where there is none. Raises OSError."""
    folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)


def make_file(path: Path) -> None:
    """An empty file, where there is none: a new database to SQLite, whose -wal and -shm take its mode."""
    with contextlib.suppress(OSError):  # SQLite comes next, and says what is wrong in words that callers know
        if not path.exists():
            os.close(os.open(path.resolve(), os.O_CREAT | os.O_EXCL | os.O_RDWR, FILE_MODE))


def keep_mode(made: Path, former: Path) -> None:
    """Give ``made`` the mode of the file that it replaces, if there is one."""
    if former.exists():
        made.chmod(stat.S_IMODE(former.stat().st_mode))
