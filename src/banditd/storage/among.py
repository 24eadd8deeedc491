"""Statements about many rows by their keys, composed once: that takes several times as long as running one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, and_, bindparam, tuple_

MOST: Final = 500  # keys of one statement


def among(*columns: ColumnElement[Any]) -> ColumnElement[bool]:
    """Whether the column's value (of several columns their values) is one of the keys that a statement is run for.

    Of several also column by column: SQLite reads a whole table for a list of rows, and uses an index for lists of
    values.
    """
    if len(columns) == 1:
        return columns[0].in_(bindparam("among", expanding=True))
    by_column = [one.in_(bindparam(f"among_{place}", expanding=True)) for place, one in enumerate(columns)]
    return and_(*by_column, tuple_(*columns).in_(bindparam("among", expanding=True)))


def given(keys: Sequence[Any]) -> dict[str, Sequence[Any]]:
    """The parameters of one run of such a statement, for 1 to ``MOST`` keys: values, or tuples of them."""
    parameters = {"among": keys}
    if keys and isinstance(keys[0], tuple):
        parameters |= {f"among_{place}": sorted(set(values)) for place, values in enumerate(zip(*keys, strict=True))}
    return parameters


def in_chunks(keys: Sequence[Any]) -> Iterator[dict[str, Sequence[Any]]]:
    """The parameters of every run for any number of keys."""
    for start in range(0, len(keys), MOST):
        yield given(keys[start : start + MOST])


def rows_among(connection: Connection, query: Any, keys: Sequence[Any]) -> Iterator[Any]:
    """The rows that a query with ``among`` finds for these keys."""
    for chunk in in_chunks(keys):
        yield from connection.execute(query, chunk)
