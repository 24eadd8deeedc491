"""Candidates in SQL: rows that are written once and deleted once."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Connection, and_, delete, select

from banditd.core.candidate import Candidate
from banditd.core.errors import InvariantError
from banditd.storage import dialect
from banditd.storage.engine import Database
from banditd.storage.schema import candidate as table


class SqlCandidateStore:
    """``ports.candidates.CandidateStore`` over one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._new = dialect.insert_into(database.engine, table).on_conflict_do_nothing()

    async def add(self, candidate: Candidate) -> Candidate:
        row = candidate.plain() | {name: json.dumps(getattr(candidate, name)) for name in ("settings", "arms")}

        def work(connection: Connection) -> Candidate:
            connection.execute(self._new, row)
            found = _found(connection, candidate.policy, candidate.name)
            if found is None:
                raise InvariantError("a candidate that was just kept is not there")
            return found

        kept: Candidate = await self._database.write(work)
        return kept

    async def list(self, policy: str) -> list[Candidate]:
        query = select(table).where(table.c.policy == policy).order_by(table.c.created_at_us, table.c.candidate_id)
        return await self._database.read(
            lambda connection: [candidate_of(row) for row in connection.execute(query).mappings()]
        )

    async def get(self, policy: str, name: str) -> Candidate | None:
        return await self._database.read(lambda connection: _found(connection, policy, name))

    async def delete(self, candidate_id: str) -> bool:
        gone = delete(table).where(table.c.candidate_id == candidate_id)
        deleted: bool = await self._database.write(lambda connection: connection.execute(gone).rowcount > 0)
        return deleted


def _found(connection: Connection, policy: str, name: str) -> Candidate | None:
    query = select(table).where(and_(table.c.policy == policy, table.c.name == name))
    row = connection.execute(query).mappings().one_or_none()
    return None if row is None else candidate_of(row)


def candidate_of(row: Any) -> Candidate:
    """A row of ``candidate``."""
    return Candidate.from_plain({**row, "settings": json.loads(row["settings"]), "arms": json.loads(row["arms"])})
