"""Bringing a database to the schema of this release. Alembic does it; one replica at a time.

The connection is ours and is shared with ``env.py``: all steps are one transaction on both databases, and
SQLite's foreign keys are off meanwhile (with them on, rebuilding a parent table would delete its children).
"""

from __future__ import annotations

import functools
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, inspect, text

from banditd.core.errors import BanditdError, ConfigurationError, StorageUnavailableError
from banditd.storage import dialect, driver_errors
from banditd.storage.partitions.layout import is_partitioned, partition_new, release_children

if TYPE_CHECKING:
    from alembic.config import Config

_WAIT_S: Final = 60.0
"""How long a replica waits on SQLite for another one that migrates."""
_VERSION_TABLE: Final = "alembic_version"
_INSTALLED: Final = Path(__file__).resolve().parents[1] / "_migrations"
_SOURCE: Final = Path(__file__).resolve().parents[3] / "migrations"


def migrations_folder() -> Path:
    """Where the migrations are: inside the installed package, or beside ``src`` in a source tree."""
    for folder in (_INSTALLED, _SOURCE):
        if (folder / "env.py").is_file():
            return folder
    raise ConfigurationError("The migrations are missing from this installation: install banditd again.")


def migrate(url: str, revision: str = "head", *, partitioned: bool = True) -> str:
    """Upgrade the database to ``revision`` and return where it stands. Blocks; waits for other replicas.

    partitioned : whether the log gets partitions where it is made only now, on PostgreSQL. One that is there stays as
    it is.

    Raises StorageUnavailableError when the database does not answer, ConfigurationError when a later
    release of banditd has been here.
    """
    engine = dialect.make_engine(
        dialect.normalise_url(url), pool_size=1, busy_timeout_s=_WAIT_S, enforce_foreign_keys=False
    )
    try:
        with dialect.writing(engine).connect() as connection, connection.begin():
            dialect.lock_migrations(connection)
            found = current_revision(connection)
            if revision == "head" and found == head_revision():
                return found
            _refuse_unknown(found)
            # Nothing of it is loaded where nothing has to be migrated: a daemon starts sooner.
            from alembic import command  # noqa: PLC0415

            config = _config()
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
            if connection.dialect.name == "postgresql":
                _lay_out(connection, new=partitioned and not found and revision == "head")
            dialect.refuse_broken_references(connection)
            return current_revision(connection)
    except BanditdError:
        raise
    except Exception as error:
        translated = driver_errors.translate(error)
        if translated is error:
            raise
        if isinstance(translated, StorageUnavailableError):
            reason = str(getattr(error, "orig", error)).strip()
            translated = StorageUnavailableError(f"The database does not answer, so it was not migrated: {reason}")
        raise translated from error
    finally:
        engine.dispose()


def _lay_out(connection: Connection, *, new: bool) -> None:
    """A log that was made just now gets partitions; one that has them stays free of foreign keys."""
    if new:
        partition_new(connection, time.time_ns() // 1000)
    elif is_partitioned(connection):
        release_children(connection)


@functools.cache
def head_revision() -> str:
    """The revision that this release of banditd needs."""
    return max(_revisions())


def current_revision(connection: Connection) -> str:
    """The revision of a database; empty when it has never been migrated."""
    if not inspect(connection).has_table(_VERSION_TABLE):
        return ""
    return connection.execute(text(f"SELECT version_num FROM {_VERSION_TABLE}")).scalar() or ""  # noqa: S608


def check_revision(connection: Connection) -> None:
    """Raise ConfigurationError unless the database has the schema of this release."""
    found, needed = current_revision(connection), head_revision()
    if found != needed:
        _refuse_unknown(found)
        raise ConfigurationError(
            f"The database is at schema {found or 'none'}, banditd needs {needed}: run `banditd migrate`."
        )


def is_known_revision(revision: str) -> bool:
    """Whether this release knows that schema; a later release's it does not."""
    return revision in _revisions()


@functools.cache
def _revisions() -> frozenset[str]:
    """All of this release: the numbers with which the files of the migrations begin."""
    return frozenset(path.name[:4] for path in (migrations_folder() / "versions").glob("[0-9]*_*.py"))


def _refuse_unknown(revision: str) -> None:
    if revision and not is_known_revision(revision):
        raise ConfigurationError(
            f"The database is at schema {revision}, which this release does not know: "
            "a later banditd has migrated it. Install that release."
        )


def _config() -> Config:
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(migrations_folder()).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
