"""SQLite files as wholes: a copy while others write, what a file holds, and putting one in another's place.

Nothing here replays a write-ahead log into a file that it does not belong to: what lies beside the former file goes
aside together with it, before the new one takes its name.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import quote

from sqlalchemy import Engine, create_engine
from sqlalchemy.engine import URL
from sqlalchemy.pool import NullPool

from banditd.core.errors import ConflictError, InvalidInputError, StorageUnavailableError
from banditd.storage import private_files

Progress = Callable[[str, int, int | None], None]
"""Told what is done now, how much of it is done, and of how much (None: not known)."""

_HEADER: Final = b"SQLite format 3\x00"
_STEP_PAGES: Final = 2_048
_BESIDE: Final = ("-wal", "-shm", "-journal")


def url_of(path: Path) -> str:
    """The URL of a SQLite file."""
    return URL.create("sqlite", database=str(path.resolve())).render_as_string(hide_password=False)


def open_file(path: Path) -> sqlite3.Connection:
    """A connection that changes neither the file nor its folder. A log beside the file is part of it.

    Raises InvalidInputError when there is no SQLite database.
    """
    _require_database(path)
    place = f"file:{quote(str(path.resolve()))}?mode=ro"
    connection = _connect(place)
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError:
        connection.close()
        # A file that was closed in WAL mode wants a log beside it even for reading. Nobody writes where none is.
        return _connect(place if _beside(path, "-wal").exists() else f"{place}&immutable=1")
    except sqlite3.DatabaseError as error:
        connection.close()
        raise _damaged(path, str(error)) from error
    return connection


def _connect(place: str) -> sqlite3.Connection:
    return sqlite3.connect(place, uri=True, isolation_level=None, check_same_thread=False, timeout=10.0)


def reading_engine(path: Path) -> Engine:
    """An engine over ``open_file``."""
    return create_engine("sqlite://", creator=lambda: open_file(path), poolclass=NullPool)


def _require_database(path: Path) -> None:
    if not path.is_file():
        raise InvalidInputError(f"there is no file {path}")
    try:
        with path.open("rb") as file:
            begins = file.read(len(_HEADER))
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be read: {error.strerror or error}") from error
    if begins != _HEADER:
        raise InvalidInputError(f"{path} is not a SQLite database: give a file that 'banditd backup' has written")


# ---------------------------------------------------------------- copy and check


def snapshot(source: Path, target: Path, progress: Progress) -> None:
    """Copy ``source``, as it is at this moment, to the new file ``target``; a daemon may be writing to it.

    Raises InvalidInputError (not a whole database), StorageUnavailableError (the target's disk is full, ...).
    """
    _require_database(source)
    with writing_to(target, needs_bytes=source.stat().st_size):
        private_files.make_file(target)
        with closing(_open_source(source)) as origin, closing(sqlite3.connect(target)) as copy:
            # The open transaction holds this one state: without it every commit would make the copy begin anew.
            origin.execute("BEGIN")
            try:
                origin.execute("SELECT count(*) FROM sqlite_master").fetchone()
            except sqlite3.DatabaseError as error:
                raise _damaged(source, str(error)) from error
            origin.backup(
                copy,
                pages=_STEP_PAGES,
                progress=lambda _status, left, pages: progress("copying pages", pages - left, pages),
            )
        finish(target)


def _open_source(source: Path) -> sqlite3.Connection:
    if not os.access(source, os.W_OK) or not os.access(source.parent, os.W_OK):
        return open_file(source)
    return _connect(f"file:{quote(str(source.resolve()))}?mode=rw")


def finish(path: Path) -> None:
    """Make one file of it, without a log beside it, and get it onto the disk."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE").fetchone()
    with path.open("rb") as file:
        os.fsync(file.fileno())


def verify(path: Path, progress: Progress) -> None:
    """Read the whole file. Raises InvalidInputError that says what is damaged."""
    size = path.stat().st_size if path.exists() else 0
    progress("verifying", 0, size)
    try:
        with closing(open_file(path)) as connection:
            found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(3)")]
            if found != ["ok"]:
                raise _damaged(path, "; ".join(found))
            orphans = len(connection.execute("PRAGMA foreign_key_check").fetchmany(1000))
            if orphans:
                raise _damaged(path, f"{orphans} rows without the row that they belong to")
    except sqlite3.DatabaseError as error:
        raise _damaged(path, str(error)) from error
    progress("verifying", size, size)


def _damaged(path: Path, reason: str) -> InvalidInputError:
    return InvalidInputError(f"{path} is damaged or cut off, so it was left alone: {reason}")


@contextmanager
def writing_to(path: Path, *, needs_bytes: int = 0) -> Iterator[None]:
    """What fails while ``path`` is written is said as such; what was written until then is removed."""
    try:
        yield
    except BaseException as error:
        remove(path)
        if isinstance(error, OSError | sqlite3.OperationalError) or "is full" in str(error):
            if not path.parent.is_dir():
                raise InvalidInputError(f"nothing was written: there is no folder {path.parent}") from error
            reason = getattr(error, "strerror", None) or str(getattr(error, "orig", error))
            free = shutil.disk_usage(path.parent).free
            raise StorageUnavailableError(
                f"nothing was written to {path.parent}: {reason} "
                f"({free / 1e6:,.1f} MB are free there, about {needs_bytes / 1e6:,.1f} MB are needed)"
            ) from error
        raise


def remove(path: Path) -> None:
    """The file and what lies beside it."""
    for suffix in ("", *_BESIDE):
        _beside(path, suffix).unlink(missing_ok=True)


# ---------------------------------------------------------------- in the place of another


def require_unused(path: Path) -> None:
    """Raise ConflictError when another process has the database open."""
    if not path.is_file() or not path.stat().st_size:
        return
    try:
        with closing(sqlite3.connect(path, timeout=0.0, isolation_level=None)) as connection:
            # Every connection in WAL mode holds a shared lock on the file, so this fails beside an idle one too.
            connection.execute("PRAGMA locking_mode = EXCLUSIVE").fetchone()
            connection.execute("BEGIN EXCLUSIVE")
            connection.execute("ROLLBACK")
    except sqlite3.OperationalError as error:
        if "locked" in str(error) or "busy" in str(error):
            raise ConflictError(f"a daemon (or another program) has {path} open: stop it first") from error
    except sqlite3.DatabaseError:
        pass  # too damaged to be opened by anybody


def put_in_place(made: Path, target: Path, *, aside: Path | None) -> None:
    """Give ``made`` the name ``target``. The former database, with its own log, is kept as ``aside``."""
    private_files.keep_mode(made, target)
    # The log goes first: a new file must never stand beside an old log, whenever this is interrupted.
    for suffix in (*_BESIDE, ""):
        former = _beside(target, suffix)
        if not former.exists():
            continue
        if aside is None or suffix == "-shm":
            former.unlink()
        else:
            former.replace(_beside(aside, suffix))
    made.replace(target)
    if os.name == "nt":
        return  # Windows opens no folder, and keeps names by itself
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def unfinished(target: Path) -> Path:
    """Where to make what will be called ``target``: beside it, so that taking the name is one step."""
    return target.with_name(f".{target.name}.{os.getpid()}.unfinished")


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)
