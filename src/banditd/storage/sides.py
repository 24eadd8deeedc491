"""Two sides of a table of counters: some sums over all arms, and others of one arm alone.

Grouping thousands of rows by arm sorts them, which costs as much as adding them up: it is not done where the other
arms' own sums are not wanted.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import BigInteger, ColumnElement, Connection, Select, Table, cast, func, or_, select

from banditd.core.generations import learned_as
from banditd.core.types import MICROSECONDS_PER_SECOND
from banditd.ports.reading import Sides
from banditd.storage.arms import present_generations
from banditd.storage.schema import INTEGER_SUMS

_WHOLE: Final = frozenset(INTEGER_SUMS)
Where = Sequence[ColumnElement[bool]]


def between(table: Table, since_us: int | None, until_us: int | None, *, longest_s: int) -> list[ColumnElement[bool]]:
    """Every bucket that ends after ``since_us`` and begins before ``until_us`` counts whole.

    longest_s : of a bucket of that table.
    """
    c = table.c
    conditions: list[ColumnElement[bool]] = []
    if since_us is not None:
        ends_us = c.bucket_at_us + cast(c.bucket_s, BigInteger) * MICROSECONDS_PER_SECOND
        # Of most buckets their beginning says enough, and where they end is not worked out.
        conditions.append(c.bucket_at_us > since_us - longest_s * MICROSECONDS_PER_SECOND)
        conditions.append(or_(c.bucket_at_us >= since_us, ends_us > since_us))
    if until_us is not None:
        conditions.append(c.bucket_at_us < until_us)
    return conditions


@lru_cache(maxsize=64)  # of few sets of columns; making the sums costs as much as asking for them
def sums_of(table: Table, names: tuple[str, ...]) -> Select[Any]:
    """The sum of each of these columns under its name."""
    return select(*(func.sum(table.c[name]).label(name) for name in names))


class OfArm:
    """The sums of one arm beside those of all. arm : as people see it; None for none."""

    def __init__(
        self, connection: Connection, policy: str, arm: str | None, of_all: Sequence[str], of_arm: Sequence[str]
    ) -> None:
        self._connection = connection
        self._of_all = of_all
        self._of_arm = of_arm
        self._learned = None if arm is None else learned_as(arm, present_generations(connection, policy).get(arm, 1))

    def whole(self, table: Table, where: Where) -> Sides:
        """Of the rows together; a side without rows is empty."""
        return self._by(table, where, None).get(None, ({}, {}))

    def by_value(self, table: Table, where: Where) -> dict[str, Sides]:
        """Of the rows of every value of a tag."""
        return self._by(table, where, table.c.value)

    def _by(self, table: Table, where: Where, key: ColumnElement[Any] | None) -> dict[Any, Sides]:
        everything = self._sums(table, self._of_all, where, key)
        mine = {}
        if self._learned is not None:
            mine = self._sums(table, self._of_arm, (*where, table.c.arm == self._learned), key)
        return {value: (sums, mine.get(value, {})) for value, sums in everything.items()}

    def _sums(
        self, table: Table, names: Sequence[str], where: Where, key: ColumnElement[Any] | None
    ) -> dict[Any, dict[str, float]]:
        query = sums_of(table, tuple(names))
        if key is not None:
            # Ordered by what only the whole tells, so that all rows are ready with the first: SQLite would add up one
            # after the other, and wait for the interpreter as often while others are busy.
            query = query.add_columns(key.label("of")).group_by(key).order_by(func.count())
        # PostgreSQL sums bigints as decimals. Sums of no row are NULL.
        return {
            row.get("of"): {name: int(row[name]) if name in _WHOLE else row[name] for name in names}
            for row in self._connection.execute(query.where(*where)).mappings()
            if row[names[0]] is not None
        }
