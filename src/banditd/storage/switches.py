"""What operators have switched, one row a policy."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Connection, Engine, select

from banditd.core.errors import BanditdError
from banditd.ports import StoredSwitches
from banditd.storage import dialect
from banditd.storage.engine import Database
from banditd.storage.schema import policy_switch


class SqlSwitchStore:
    """``ports.SwitchStore`` over one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self) -> Mapping[str, StoredSwitches]:
        rows = await self._database.read(lambda connection: connection.execute(select(policy_switch)).all())
        return {row.policy: _stored(row) for row in rows}

    async def change(
        self, policy: str, work: Callable[[Mapping[str, object]], Mapping[str, object]], at_us: int
    ) -> StoredSwitches:
        def run(connection: Connection) -> StoredSwitches | BanditdError:
            try:
                return change_switches(connection, self._database.engine, policy, work, at_us)
            except BanditdError as error:
                return error

        stored: StoredSwitches = await self._database.write(run)
        return stored


def change_switches(
    connection: Connection,
    engine: Engine,
    policy: str,
    work: Callable[[Mapping[str, object]], Mapping[str, object]],
    at_us: int,
) -> StoredSwitches:
    """What is stored after ``work``, in this transaction. Raises what ``work`` raises; nothing is changed then."""
    first = dialect.insert_into(engine, policy_switch).on_conflict_do_nothing()
    replace = dialect.replace_row(engine, policy_switch, ("changes", "updated_at_us"))
    # One writer at a time on SQLite; elsewhere the row must be there to be locked.
    connection.execute(first, {"policy": policy, "changes": "{}", "updated_at_us": 0})
    query = select(policy_switch).where(policy_switch.c.policy == policy)
    before = _stored(connection.execute(dialect.lock_exclusive(engine, query)).one())
    # Later than before, whatever the clock says: replicas look for a change of it.
    stored = StoredSwitches(work(before.changes), max(at_us, before.updated_at_us + 1))
    text = json.dumps(stored.changes, separators=(",", ":"), sort_keys=True)
    connection.execute(replace, {"policy": policy, "changes": text, "updated_at_us": stored.updated_at_us})
    return stored


def _stored(row: Any) -> StoredSwitches:
    """An unreadable row counts as none: the configuration holds."""
    try:
        changes = json.loads(row.changes)
    except ValueError:
        changes = {}
    return StoredSwitches(changes if isinstance(changes, dict) else {}, int(row.updated_at_us))
