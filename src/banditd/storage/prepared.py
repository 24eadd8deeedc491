"""Statements compiled once, for rows given as tuples."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from itertools import chain
from typing import Any, Final

from sqlalchemy import Connection, Engine, Float, Table
from sqlalchemy.exc import DBAPIError

from banditd.core.errors import InvariantError
from banditd.storage import dialect

_BATCHES: Final = (32, 8, 2)  # rows of one statement; few sizes, so that the driver keeps them prepared
_VALUES: Final = re.compile(r"(?<=VALUES )\([^()]*\)")
_PLACE: Final = re.compile(r"\$(\d+)")


class Prepared:
    """A statement compiled once, for rows given as tuples in the order of ``columns``.

    SQLAlchemy's own executemany works through a dict per row; on the hot path that costs more than SQLite.
    """

    def __init__(self, engine: Engine, statement: Any, columns: Sequence[str]) -> None:
        kind: Any = type(engine.dialect)
        self._one, self._many = _compiled(kind, statement, tuple(columns))
        self._floats = _float_places(engine, statement.table, columns)

    def run(self, connection: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
        if not rows:
            return
        if self._floats:
            rows = [_with_floats(row, self._floats) for row in rows]
        cursor = dialect.positional_cursor(connection)
        try:
            # SQLite's driver lets go of the interpreter at every step, and gets it back from a busy event loop only
            # after a switch interval. A statement of many rows is one step, and one trip to a server.
            start = 0
            for size in _BATCHES:
                while len(rows) - start >= size:
                    cursor.execute(self._many[size], tuple(chain.from_iterable(rows[start : start + size])))
                    start += size
            if start < len(rows):
                cursor.executemany(self._one, rows[start:])
        except Exception as error:
            # What SQLAlchemy would do for a statement of its own: drop connections that have died.
            if connection.dialect.is_disconnect(error, connection.connection, cursor):  # type: ignore[arg-type]
                connection.invalidate(error)
                raise DBAPIError(self._one, None, error, connection_invalidated=True) from error
            raise
        finally:
            cursor.close()


@functools.lru_cache(maxsize=128)
def _compiled(kind: Any, statement: Any, columns: tuple[str, ...]) -> tuple[str, dict[int, str]]:
    """The SQL for one row, and for so many at once; worked out once for all stores of a process that share it."""
    compiled = statement.compile(dialect=dialect.by_position(kind), column_keys=list(columns))
    if tuple(compiled.positiontup) != columns:
        raise InvariantError(f"the compiled order {compiled.positiontup} is not {columns}")
    sql = str(compiled)
    values = _VALUES.findall(sql)
    if len(values) != 1:
        raise InvariantError(f"{sql} has no single row of VALUES to repeat")
    [one] = values
    return sql, {n: sql.replace(one, _repeated(one, n, len(columns))) for n in _BATCHES}


def _repeated(one: str, rows: int, width: int) -> str:
    """The places of one row for so many. PostgreSQL's have numbers, which go on from row to row."""
    return ", ".join(_moved(one, row * width) for row in range(rows))


def _moved(one: str, by: int) -> str:
    return _PLACE.sub(lambda place: f"${int(place[1]) + by}", one)


def _float_places(engine: Engine, table: Table, columns: Sequence[str]) -> Sequence[int]:
    """Which values must be floats: PostgreSQL makes a plan for each combination of types (SQLite asks the column)."""
    if dialect.is_sqlite(engine.url):
        return ()
    return [place for place, name in enumerate(columns) if isinstance(table.c[name].type, Float)]


def _with_floats(row: Sequence[Any], places: Sequence[int]) -> tuple[Any, ...]:
    values = list(row)
    for place in places:
        if values[place] is not None:
            values[place] = float(values[place])
    return tuple(values)
