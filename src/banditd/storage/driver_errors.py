"""What an error of a driver means: a race, a connection that died, a database that cannot now, or a bug."""

from __future__ import annotations

import logging
import sqlite3
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from banditd.core.errors import (
    BanditdError,
    ConfigurationError,
    DatabaseDamagedError,
    InvalidInputError,
    StorageUnavailableError,
)

logger = logging.getLogger(__name__)

# Races between replicas, statements that a proxy between us and the server has lost, and those that were prepared
# before another replica migrated (0A000): with the rollback the driver forgets what it has prepared.
_RETRYABLE_STATES: Final = frozenset({"40001", "40P01", "23505", "23503", "26000", "42P05", "0A000"})
# Classes and single states that mean a server which cannot now: connections, resources, operators, disks, standbys.
_UNAVAILABLE_STATES: Final = ("08", "53", "57", "58", "25006", "25P03", "55P03", "26000", "42P05")
_SQLITE_BUSY: Final = ("locked", "busy", "full", "unable to open", "disk i/o", "readonly")


def is_retryable(error: BaseException) -> bool:
    """A race with another replica that another try settles: it will then see what the winner wrote."""
    return getattr(_driver_error(error), "sqlstate", None) in _RETRYABLE_STATES


def is_disconnect(error: BaseException) -> bool:
    return isinstance(error, DBAPIError) and error.connection_invalidated


@contextmanager
def translated() -> Iterator[None]:
    """What fails in it is raised as ``translate`` has it."""
    try:
        yield
    except Exception as error:
        known = translate(error)
        if known is error:
            raise
        raise known from error


def translate(error: BaseException) -> BaseException:
    """A driver's error as one of ours where it is not a bug, else the error itself."""
    if isinstance(error, BanditdError):
        return error
    cause = _driver_error(error)
    names = {kind.__name__ for kind in type(cause).__mro__}
    text = str(cause).lower()
    known: BanditdError | None = None
    if isinstance(cause, OverflowError | UnicodeEncodeError | struct.error) or "DataError" in names:
        known = InvalidInputError("A number or a text of the request cannot be stored.", code="NOT_STORABLE")
    elif "database disk image is malformed" in text:
        known = DatabaseDamagedError(
            "The database's file is damaged: nothing was stored. Stop the daemon and put a backup in its place "
            "(banditd restore)."
        )
    elif "not a database" in text:
        known = ConfigurationError("The file that database.url names is not a whole SQLite database.")
    elif isinstance(cause, sqlite3.OperationalError):
        if any(word in text for word in _SQLITE_BUSY):
            known = _unavailable()
    elif (
        "OperationalError" in names
        or is_disconnect(error)
        or isinstance(error, PoolTimeoutError)
        or str(getattr(cause, "sqlstate", None)).startswith(_UNAVAILABLE_STATES)
    ):
        known = _unavailable()
    if known is None:
        return error
    # The client is told what to do; why is for the operator.
    logger.warning("storage.failed", extra={"code": known.code, "cause": str(cause).strip()[:500]})
    known.__cause__ = error
    return known


def outcome_is_unknown(error: BaseException) -> bool:
    """Whether a COMMIT that failed like this may have happened all the same."""
    if is_disconnect(error):
        return True
    # A disk that fails while SQLite syncs its log may show the transaction after a crash.
    return isinstance(_driver_error(error), sqlite3.OperationalError) and "disk i/o" in str(error).lower()


def _unavailable() -> StorageUnavailableError:
    return StorageUnavailableError("The database does not answer: nothing was stored. Try again.")


def _driver_error(error: BaseException) -> BaseException:
    original = getattr(error, "orig", None)
    return original if isinstance(original, BaseException) else error
