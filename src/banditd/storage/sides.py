"""Two sides of a table of counters: some sums over all arms, and others of one arm alone.

Grouping thousands of rows by arm sorts them, which costs as much as adding them up: it is not done where the other
arms' own sums are not wanted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import Connection, Select, func

from banditd.core.generations import learned_as
from banditd.ports.reading import Sides
from banditd.ports.tags import busiest_first
from banditd.storage.arms import present_generations
from banditd.storage.schema import INTEGER_SUMS
from banditd.storage.sum_queries import Scope, Selection, summed

_WHOLE: Final = frozenset(INTEGER_SUMS)
_OF_DRAWN: Final = frozenset({"decisions", "predicted_spend_usd", "tried_decisions", "tried_usd", "tried_reward"})
"""Sums that one entry of the journal raises together: a row without decisions has none of the others."""


class OfArm:
    """The sums of one arm beside those of all. arm : as people see it; None for none."""

    def __init__(
        self, connection: Connection, policy: str, arm: str | None, of_all: Sequence[str], of_arm: Sequence[str]
    ) -> None:
        self._connection = connection
        self._of_all = tuple(of_all)
        self._of_arm = tuple(of_arm)
        self._learned = None if arm is None else learned_as(arm, present_generations(connection, policy).get(arm, 1))

    def whole(self, rows: Selection) -> Sides:
        """Of the rows together; a side without rows is empty."""
        everything = self._sums(rows, self._of_all, None)
        return everything.get(None, {}), self._of_the_arm(rows, None).get(None, {}) if everything else {}

    def by_value(self, rows: Selection, most: int | None = None) -> dict[str, Sides]:
        """Of the rows of every value of a tag, or of the busiest ones."""
        everything = self._sums(rows, self._of_all, "value")
        if most is not None and len(everything) > most:
            values = busiest_first({value: sums["decisions"] for value, sums in everything.items()})[:most]
            everything, rows = {value: everything[value] for value in values}, rows.among(values)
        served = self._of_the_arm(rows, "value")
        return {value: (sums, served.get(value, {})) for value, sums in everything.items()}

    def _of_the_arm(self, rows: Selection, key: str | None) -> dict[Any, dict[str, float]]:
        return {} if self._learned is None else self._sums(rows.of(arm=self._learned), self._of_arm, key)

    def _sums(self, rows: Selection, names: tuple[str, ...], key: str | None) -> dict[Any, dict[str, float]]:
        scope = replace(rows.scope, drawn=True) if _OF_DRAWN.issuperset(names) else rows.scope
        query = summed(scope, names) if key is None else _by_key(scope, names, key)
        # PostgreSQL sums bigints as decimals. Sums of no row are NULL.
        return {
            None if key is None else row[-1]: {
                name: int(value) if name in _WHOLE else value for name, value in zip(names, row, strict=False)
            }
            for row in self._connection.execute(query, rows.values)
            if row[0] is not None
        }


@lru_cache(maxsize=64)
def _by_key(scope: Scope, names: tuple[str, ...], key: str) -> Select[Any]:
    """Ordered by what only the whole tells, so that all rows are ready with the first: SQLite would add up one after
    the other, and wait for the interpreter as often while others are busy.
    """
    return summed(scope, names).add_columns(scope.table.c[key]).group_by(scope.table.c[key]).order_by(func.count())
