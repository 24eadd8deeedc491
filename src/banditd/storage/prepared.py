"""Statements compiled once, for rows given as tuples."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from itertools import chain
from typing import Any, Final

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from banditd.core.errors import InvariantError
from banditd.storage import dialect

_BATCHES: Final = (32, 8, 2)  # rows of one statement; few sizes, so that the driver keeps them prepared
_VALUES: Final = re.compile(r"(?<=VALUES )\([^()]*\)")


class Prepared:
    """A statement compiled once, for rows given as tuples in the order of ``columns``.

    SQLAlchemy's own executemany works through a dict per row; on the hot path that costs more than SQLite.
    """

    def __init__(self, engine: Engine, statement: Any, columns: Sequence[str]) -> None:
        kind: Any = type(engine.dialect)
        self.sql = _compiled(kind, statement, tuple(columns))
        values = _VALUES.findall(self.sql)
        if len(values) != 1:
            raise InvariantError(f"{self.sql} has no single row of VALUES to repeat")
        [one] = values
        self._many = {n: self.sql.replace(one, ", ".join([one] * n)) for n in _BATCHES}

    def run(self, connection: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
        if not rows:
            return
        cursor = connection.connection.cursor()
        try:
            # SQLite's driver lets go of the interpreter at every step, and gets it back from a busy event loop only
            # after a switch interval. A statement of many rows is one step, and one trip to a server.
            start = 0
            for size in _BATCHES:
                while len(rows) - start >= size:
                    cursor.execute(self._many[size], tuple(chain.from_iterable(rows[start : start + size])))
                    start += size
            if start < len(rows):
                cursor.executemany(self.sql, rows[start:])
        except Exception as error:
            # What SQLAlchemy would do for a statement of its own: drop connections that have died.
            if connection.dialect.is_disconnect(error, connection.connection, cursor):  # type: ignore[arg-type]
                connection.invalidate(error)
                raise DBAPIError(self.sql, None, error, connection_invalidated=True) from error
            raise
        finally:
            cursor.close()


@functools.lru_cache(maxsize=128)
def _compiled(kind: Any, statement: Any, columns: tuple[str, ...]) -> str:
    """The SQL of a statement, worked out once for all stores of a process that share it."""
    compiled = statement.compile(dialect=dialect.by_position(kind), column_keys=list(columns))
    if tuple(compiled.positiontup) != columns:
        raise InvariantError(f"the compiled order {compiled.positiontup} is not {columns}")
    return str(compiled)
