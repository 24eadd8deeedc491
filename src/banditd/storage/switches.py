"""What operators have switched, one row a policy."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Connection, select

from banditd.core.errors import BanditdError
from banditd.ports import StoredSwitches
from banditd.storage import dialect
from banditd.storage.engine import Database
from banditd.storage.schema import policy_switch


class SqlSwitchStore:
    """``ports.SwitchStore`` over one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._replace = dialect.replace_row(database.engine, policy_switch, ("changes", "updated_at_us"))
        self._first = dialect.insert_into(database.engine, policy_switch).on_conflict_do_nothing()

    async def load(self) -> Mapping[str, StoredSwitches]:
        rows = await self._database.read(lambda connection: connection.execute(select(policy_switch)).all())
        return {row.policy: _stored(row) for row in rows}

    async def change(
        self, policy: str, work: Callable[[Mapping[str, object]], Mapping[str, object]], at_us: int
    ) -> StoredSwitches:
        query = select(policy_switch).where(policy_switch.c.policy == policy)

        def run(connection: Connection) -> StoredSwitches | BanditdError:
            # One writer at a time on SQLite; elsewhere the row must be there to be locked.
            connection.execute(self._first, {"policy": policy, "changes": "{}", "updated_at_us": 0})
            found = connection.execute(dialect.lock_exclusive(self._database.engine, query)).one()
            before = _stored(found)
            try:
                after = work(before.changes)
            except BanditdError as error:
                return error
            # Later than before, whatever the clock says: replicas look for a change of it.
            stored = StoredSwitches(after, max(at_us, before.updated_at_us + 1))
            self._put(connection, policy, after, stored.updated_at_us)
            return stored

        stored: StoredSwitches = await self._database.write(run)
        return stored

    def _put(self, connection: Connection, policy: str, changes: Mapping[str, object], at_us: int) -> None:
        text = json.dumps(changes, separators=(",", ":"), sort_keys=True)
        connection.execute(self._replace, {"policy": policy, "changes": text, "updated_at_us": at_us})


def _stored(row: Any) -> StoredSwitches:
    """An unreadable row counts as none: the configuration holds."""
    try:
        changes = json.loads(row.changes)
    except ValueError:
        changes = {}
    return StoredSwitches(changes if isinstance(changes, dict) else {}, int(row.updated_at_us))
