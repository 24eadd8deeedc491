"""Which column each value of a context tag has. Rows are only ever added."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, select

from banditd.storage import dialect
from banditd.storage.engine import Database
from banditd.storage.schema import context_value


class SqlContextValues:
    """``ports.tags.ContextValueStore`` over one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._first = dialect.insert_into(database.engine, context_value).on_conflict_do_nothing()

    async def places(
        self, policy: str, wanted: Sequence[tuple[str, str]] = (), *, at_most: int = 0
    ) -> list[tuple[str, str, int]]:
        def give(connection: Connection) -> list[tuple[str, str, int]]:
            found = _stored(connection, policy)
            known = {(tag, value) for tag, value, _ in found}
            for tag, value in wanted:
                taken = [place for other, _, place in found if other == tag]
                if (tag, value) in known or len(taken) >= at_most:
                    continue
                # Two constraints may refuse it: the value has a place by now, or the place a value.
                row = {"policy": policy, "tag": tag, "value": value, "place": max(taken, default=-1) + 1}
                connection.execute(self._first, row)
                found = _stored(connection, policy)
                known.add((tag, value))
            return found

        if not wanted:
            return await self._database.read(lambda connection: _stored(connection, policy))
        given: list[tuple[str, str, int]] = await self._database.write(give)
        return given


def _stored(connection: Connection, policy: str) -> list[tuple[str, str, int]]:
    c = context_value.c
    query = select(c.tag, c.value, c.place).where(c.policy == policy).order_by(c.tag, c.place)
    return [(row.tag, row.value, row.place) for row in connection.execute(query)]
