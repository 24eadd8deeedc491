"""Statements about many rows by their keys, composed once: that takes several times as long as running one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, bindparam, tuple_

MOST: Final = 500  # keys of one statement


def among(*columns: ColumnElement[Any]) -> ColumnElement[bool]:
    """Whether the column's value (of several columns their values) is one of the keys that a statement is run for."""
    one: Any = columns[0] if len(columns) == 1 else tuple_(*columns)
    return one.in_(bindparam("among", expanding=True))  # type: ignore[no-any-return]


def in_chunks(keys: Sequence[Any]) -> Iterator[dict[str, Sequence[Any]]]:
    """The parameters of every run of such a statement, for so many keys at a time."""
    for start in range(0, len(keys), MOST):
        yield {"among": keys[start : start + MOST]}


def rows_among(connection: Connection, query: Any, keys: Sequence[Any]) -> Iterator[Any]:
    """The rows that a query with ``among`` finds for these keys."""
    for chunk in in_chunks(keys):
        yield from connection.execute(query, chunk)
