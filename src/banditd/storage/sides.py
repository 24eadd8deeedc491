"""Two sides of a table of counters: some sums over all arms, and others of one arm alone.

Grouping thousands of rows by arm sorts them, which costs as much as adding them up: it is not done where the other
arms' own sums are not wanted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Table, func, select

from banditd.core.generations import learned_as
from banditd.ports.reading import Sides
from banditd.storage.arms import present_generations
from banditd.storage.schema import INTEGER_SUMS

_WHOLE: Final = frozenset(INTEGER_SUMS)
Where = Sequence[ColumnElement[bool]]


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
        sums = [func.sum(table.c[name]).label(name) for name in names]
        query = select(*sums) if key is None else select(*sums, key.label("of")).group_by(key)
        # PostgreSQL sums bigints as decimals. Sums of no row are NULL.
        return {
            row.get("of"): {name: int(row[name]) if name in _WHOLE else row[name] for name in names}
            for row in self._connection.execute(query.where(*where)).mappings()
            if row[names[0]] is not None
        }
