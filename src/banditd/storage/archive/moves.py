"""Backup, restore and copy: the order of their steps. How is ``files.py``'s and ``tables.py``'s.

Each is all or nothing: a file takes its name when it is whole and verified, PostgreSQL commits once.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Engine, func, inspect, select
from sqlalchemy.engine import URL

from banditd.core.errors import BanditdError, ConfigurationError, ConflictError, InvalidInputError
from banditd.storage import dialect, driver_errors, private_files
from banditd.storage.archive import files
from banditd.storage.archive.files import Progress
from banditd.storage.archive.tables import copied_tables, copy_rows, empty_tables, filled_tables
from banditd.storage.learning import LEARNER_LEASE
from banditd.storage.migrate import check_revision, current_revision, head_revision, is_known_revision, migrate
from banditd.storage.schema import decision, lease, secret

_WAIT_S: Final = 30.0
_LONGEST_LEASE_US: Final = 3_600_000_000
"""A lease that would last longer was taken under a wrong clock: nobody is believed to hold it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """What was written.

    to : file or URL (without its password). kept : where the former database is, if there was one.
    rows : by table, where rows were copied one by one; decisions in any case.
    """

    to: str
    revision: str
    decisions: int
    bytes: int | None = None
    kept: str | None = None
    rows: Mapping[str, int] = field(default_factory=dict)


def backup(url: str, file: Path, *, overwrite: bool = False, progress: Progress) -> Moved:
    """Write the database, as it is at this moment, to one SQLite file; daemons may serve on.

    Raises
    ------
    ConflictError : the file exists and ``overwrite`` is not set. InvalidInputError : the database is damaged.
    StorageUnavailableError : it does not answer, or the disk of the file is full; a former file stays.
    """
    if file.exists() and not overwrite:
        raise ConflictError(f"{file} exists: give another name, or --overwrite")
    source = dialect.normalise_url(url)
    if dialect.is_sqlite(source) and _file_of(source).resolve() == file.resolve():
        raise InvalidInputError(f"{file} is the database itself")
    made = files.unfinished(file)
    rows = _fill(source, made, progress)
    moved = _describe(made, file, rows=rows)
    # A former backup is no database in use: its log, if somebody has opened it, is gone with it.
    files.put_in_place(made, file, aside=None)
    return moved


def restore(file: Path, url: str, *, overwrite: bool = False, progress: Progress) -> Moved:
    """Put a backup in the place of the database; one of an older release is migrated, a copy of it that is.

    Raises
    ------
    InvalidInputError : the file is damaged, cut off, or no database of banditd. ConfigurationError : a later release
    has written it. ConflictError : there are rows already and ``overwrite`` is not set, or a daemon is running.
    """
    _check_backup(file, progress)
    target = dialect.normalise_url(url)
    if not dialect.is_sqlite(target):
        return _restore_rows(file, target, overwrite=overwrite, progress=progress)
    place = _file_of(target)
    if place.resolve() == file.resolve():
        raise InvalidInputError(f"{file} is the database itself: there is nothing to restore")
    files.require_unused(place)
    if not overwrite:
        _require_empty_file(place)
    made = files.unfinished(place)
    private_files.make_folder(place.parent)
    files.snapshot(file, made, progress)
    _bring_up(made, file, progress)
    files.require_unused(place)
    aside = None
    if overwrite and place.exists():
        aside = place.with_name(f"{place.name}.before-restore-{time.strftime('%Y%m%dT%H%M%S')}")
    moved = _describe(made, place, kept=str(aside) if aside else None)
    files.put_in_place(made, place, aside=aside)
    return moved


def copy_database(url: str, to: str, *, while_serving: bool = False, progress: Progress) -> Moved:
    """Move everything to an empty database of either kind.

    Raises
    ------
    ConflictError : the target has rows, or a daemon is writing to the source (what it writes from now on would stay
    behind) and ``while_serving`` is not set.
    """
    source, target = dialect.normalise_url(url), dialect.normalise_url(to)
    if source == target or (_both_files(source, target) and _file_of(source).resolve() == _file_of(target).resolve()):
        raise InvalidInputError("--to names the database itself")
    if not while_serving:
        _require_no_learner(source)
    if not dialect.is_sqlite(target):
        return _copy_rows_to(source, target, replace=False, progress=progress)
    place = _file_of(target)
    files.require_unused(place)
    _require_empty_file(place)
    made = files.unfinished(place)
    private_files.make_folder(place.parent)
    rows = _fill(source, made, progress)
    _bring_up(made, place, progress)
    moved = _describe(made, place, rows=rows)
    files.put_in_place(made, place, aside=None)
    return moved


# ---------------------------------------------------------------- into a file


def _fill(source: URL, made: Path, progress: Progress) -> Mapping[str, int]:
    """Make a file of the database and read it whole. The rows by table, where they were copied one by one."""
    rows: Mapping[str, int] = {}
    if dialect.is_sqlite(source):
        files.snapshot(_file_of(source), made, progress)
    else:
        with files.writing_to(made):
            private_files.make_folder(made.parent)
            migrate(files.url_of(made))
            engine = dialect.make_engine(
                dialect.normalise_url(files.url_of(made)), pool_size=1, busy_timeout_s=_WAIT_S
            )
            try:
                rows = _stream(source, engine, replace=False, progress=progress)
            finally:
                engine.dispose()
            files.finish(made)
    try:
        files.verify(made, progress)
    except BaseException:
        files.remove(made)
        raise
    return rows


def _engine_of(made: Path) -> Engine:
    return dialect.make_engine(dialect.normalise_url(files.url_of(made)), pool_size=1, busy_timeout_s=_WAIT_S)


def _bring_up(made: Path, stated: Path, progress: Progress) -> None:
    """Migrate a file that is not yet in place, and let go of what processes of the source held."""
    try:
        progress("migrating", 0, None)
        migrate(files.url_of(made))
        engine = _engine_of(made)
        try:
            with dialect.writing(engine).begin() as connection:
                connection.execute(lease.delete())
        finally:
            engine.dispose()
        files.finish(made)
    except BaseException as error:
        files.remove(made)
        if isinstance(error, BanditdError) or not isinstance(error, Exception):
            raise
        raise InvalidInputError(f"{stated} cannot be migrated to this release: {error}") from error


def _describe(made: Path, file: Path, *, rows: Mapping[str, int] | None = None, kept: str | None = None) -> Moved:
    engine = files.reading_engine(made)
    try:
        with engine.connect() as connection:
            return Moved(
                to=str(file),
                revision=current_revision(connection),
                decisions=_decisions(connection),
                bytes=made.stat().st_size,
                kept=kept,
                rows=rows or {},
            )
    finally:
        engine.dispose()


def _decisions(connection: Connection) -> int:
    if not inspect(connection).has_table(decision.name):
        return 0
    return int(connection.execute(select(func.count()).select_from(decision)).scalar_one())


def _require_empty_file(place: Path) -> None:
    if not place.is_file() or not place.stat().st_size:
        return
    try:
        engine = files.reading_engine(place)
        try:
            with engine.connect() as connection:
                there = frozenset(inspect(connection).get_table_names()) - {"alembic_version"}
                copied = {table.name for table in copied_tables()}
                filled = filled_tables(connection) - _seeded_tables() if copied <= there else there
        finally:
            engine.dispose()
    except Exception as error:
        raise ConflictError(f"{place} is there and cannot be read ({error}): {_HOW_TO_OVERWRITE}") from error
    if filled:
        raise _not_empty(str(place), filled)


def _seeded_tables() -> frozenset[str]:
    """The tables that have rows in a database that was only made and opened: no row of an operator's."""
    with tempfile.TemporaryDirectory(prefix="banditd-new-") as folder:
        new = Path(folder) / "new.db"
        migrate(files.url_of(new))
        engine = files.reading_engine(new)
        try:
            with engine.connect() as connection:
                return filled_tables(connection) | {secret.name}
        finally:
            engine.dispose()


def _not_empty(place: str, filled: frozenset[str]) -> ConflictError:
    return ConflictError(
        f"{place} is not empty (it has rows of {', '.join(sorted(filled)[:3])}): {_HOW_TO_OVERWRITE}"
    )


_HOW_TO_OVERWRITE: Final = (
    "'banditd restore --overwrite' replaces a database by a backup, 'banditd copy' wants an empty target"
)

# ---------------------------------------------------------------- into PostgreSQL


def _restore_rows(file: Path, target: URL, *, overwrite: bool, progress: Progress) -> Moved:
    with tempfile.TemporaryDirectory(prefix="banditd-restore-") as folder:
        whole = file
        if _revision_of(file) != head_revision():
            whole = Path(folder) / "migrated.db"
            files.snapshot(file, whole, progress)
            _bring_up(whole, file, progress)
        return _copy_rows_to(dialect.normalise_url(files.url_of(whole)), target, replace=overwrite, progress=progress)


def _copy_rows_to(source: URL, target: URL, *, replace: bool, progress: Progress) -> Moved:
    if dialect.is_sqlite(source):
        _revision_of(_file_of(source))
    migrate(target.render_as_string(hide_password=False))
    engine = dialect.make_engine(target, pool_size=1, busy_timeout_s=_WAIT_S)
    try:
        rows = _stream(source, engine, replace=replace, progress=progress)
    finally:
        engine.dispose()
    return Moved(
        to=target.render_as_string(hide_password=True),
        revision=head_revision(),
        decisions=rows[decision.name],
        rows=rows,
    )


def _stream(source: URL, target: Engine, *, replace: bool, progress: Progress) -> dict[str, int]:
    """Copy all rows from one state of the source, in one transaction of the target."""
    origin = (
        files.reading_engine(_file_of(source))
        if dialect.is_sqlite(source)
        else dialect.make_engine(source, pool_size=1, busy_timeout_s=_WAIT_S)
    )
    try:
        with dialect.reading(origin).connect() as reading, reading.begin():
            if dialect.is_sqlite(source):
                reading.exec_driver_sql("BEGIN")  # the file's connection begins nothing by itself
            check_revision(reading)
            with dialect.writing(target).connect() as writing, writing.begin():
                dialect.lock_tables(writing, [lease.name, decision.name])
                refuse_learner(writing)
                if not replace:
                    _refuse_rows(writing)
                empty_tables(writing)
                return copy_rows(reading, writing, progress)
    except BanditdError:
        raise
    except Exception as error:
        translated = driver_errors.translate(error)
        if translated is error or "is full" in str(error):
            raise
        raise translated from error
    finally:
        origin.dispose()


# ---------------------------------------------------------------- what must hold before


def _refuse_rows(connection: Connection) -> None:
    filled = filled_tables(connection) - _seeded_tables()
    if filled:
        raise _not_empty("the target", filled)


def _check_backup(file: Path, progress: Progress) -> None:
    files.verify(file, progress)
    _revision_of(file)


def _revision_of(file: Path) -> str:
    """The schema of a file. Raises where this release cannot take it."""
    engine = files.reading_engine(file)
    try:
        with engine.connect() as connection:
            revision = current_revision(connection)
    finally:
        engine.dispose()
    if not revision:
        raise InvalidInputError(f"{file} is not a database of banditd")
    if not is_known_revision(revision):
        raise ConfigurationError(
            f"{file} is at schema {revision}, which this release does not know: a later banditd wrote it. "
            "Restore it with that release"
        )
    return revision


def _require_no_learner(source: URL) -> None:
    if dialect.is_sqlite(source):
        _revision_of(_file_of(source))
    engine = (
        files.reading_engine(_file_of(source))
        if dialect.is_sqlite(source)
        else dialect.make_engine(source, pool_size=1, busy_timeout_s=_WAIT_S)
    )
    try:
        with driver_errors.translated(), engine.connect() as connection:
            check_revision(connection)
            refuse_learner(connection)
    finally:
        engine.dispose()


def refuse_learner(connection: Connection) -> None:
    now_us = time.time_ns() // 1000
    query = select(lease.c.holder).where(
        lease.c.name == LEARNER_LEASE,
        lease.c.expires_at_us > now_us,
        lease.c.expires_at_us < now_us + _LONGEST_LEASE_US,
    )
    holder = connection.execute(query).scalar()
    if holder is not None:
        raise ConflictError(
            f"a daemon is running on that database ({holder}): stop it first "
            "(one that was killed is taken for running until learner.lease_s have passed)"
        )


def _file_of(url: URL) -> Path:
    return Path(str(url.database))


def _both_files(one: URL, other: URL) -> bool:
    return dialect.is_sqlite(one) and dialect.is_sqlite(other)
