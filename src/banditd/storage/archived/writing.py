"""Putting old decisions into the archive: some files for every 50,000, written, verified, noted in the database.

A part is noted when its files are whole in their place. Killed before that, it is written anew under other names.
What is noted is given up again where a reward or a report came for it since, and then written once more. A part whose
decisions have left the database is never given up: a decision of a clock that is behind, which lies among them by its
id, stays in the database.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, delete, exists, func, insert, select

from banditd.core.errors import StorageUnavailableError
from banditd.core.ids import lowest_id
from banditd.storage.archived.files import ARCHIVED, ArchiveFolder, file_of, write_rows
from banditd.storage.engine import Database
from banditd.storage.migrate import current_revision
from banditd.storage.schema import archived_part, arm_reward, decision, reward_event, usage_report

PART_DECISIONS: Final = 50_000
_TRIES: Final = 3
_SLACK_US: Final = 60_000_000  # by how much clocks of replicas may disagree, with room to spare


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Decisions with ``after_id`` < id <= ``last_id``. tables : rows of those that have any."""

    after_id: str
    last_id: str
    tables: dict[str, int]
    archived_at_us: int


def parts_of(connection: Connection) -> list[Part]:
    """Those that are noted, the oldest first."""
    c = archived_part.c
    query = select(c.after_id, c.last_id, c.tables, c.archived_at_us).order_by(c.last_id)
    return [
        Part(after_id=row[0], last_id=row[1], tables=json.loads(row[2]), archived_at_us=row[3])
        for row in connection.execute(query)
    ]


class ArchiveWriter:
    """Archives the log of one database in the order of ids. One replica does it."""

    def __init__(self, database: Database, folder: ArchiveFolder) -> None:
        self._database = database
        self._folder = folder

    async def keep(self, below_id: str) -> int | None:
        """Archive every decision below that id with all that hangs on it.

        Returns when (microseconds) nothing had come for them that is not archived; None where something comes all the
        time. What came later is told by ``has_news``.
        """
        for _ in range(_TRIES):
            while await self._next_part(below_id):
                pass
            at_us = time.time_ns() // 1000
            stale = await self._database.read(_stale, report=True)
            if not stale:
                return at_us
            await self._database.write(lambda connection, stale=stale: _forget(connection, stale))  # type: ignore[misc]
        return None

    def has_news(self, connection: Connection, below_id: str, since_us: int) -> bool:
        """Whether rewards came for decisions below that id since then. Reads few rows of an index."""
        since_id = lowest_id(since_us - _SLACK_US)
        return any(
            connection.execute(
                select(exists().where(table.c.reward_id >= since_id, table.c.decision_id < below_id))
            ).scalar()
            for table in (reward_event, arm_reward)
        )

    async def _next_part(self, below_id: str) -> bool:
        """Archive the first stretch that is not yet; False when there is none."""
        at_us = time.time_ns() // 1000
        gap = await self._database.read(lambda connection: _gap(connection, below_id))
        if gap is None:
            return False
        after_id, last_id = gap
        with tempfile.TemporaryDirectory(prefix="banditd-archive-") as name:
            here = Path(name)
            tables, revision = await self._database.read(
                lambda connection: (_write(connection, here, after_id, last_id), current_revision(connection)),
                report=True,
            )
            size = await asyncio.to_thread(self._store, here, tables, last_id, at_us)
        row = {
            "last_id": last_id, "after_id": after_id, "tables": json.dumps(tables), "bytes": size,
            "decisions": tables[decision.name], "revision": revision, "archived_at_us": at_us,
        }  # fmt: skip
        await self._database.write(lambda connection: _note(connection, row))
        return True

    def held(self, connection: Connection) -> list[tuple[str, str]]:
        """(id behind which, id up to which) of the parts whose decisions are in the database still."""
        here = _last_ids_here(connection)
        return [(part.after_id, part.last_id) for part in parts_of(connection) if part.last_id in here]

    def _store(self, here: Path, tables: dict[str, int], last_id: str, at_us: int) -> int:
        return sum(self._folder.put(file_of(name, last_id, at_us), here / f"{name}.parquet") for name in tables)


def _gap(connection: Connection, below_id: str) -> tuple[str, str] | None:
    """(id behind which, id up to which) of the first decisions that no part holds."""
    c = decision.c.decision_id
    ends = [(part.after_id, part.last_id) for part in parts_of(connection)]
    after_id = ""
    for begin, end in ends:
        found = _end_of_next(connection, after_id, c <= begin)
        if found is not None:
            return after_id, min(found, begin)
        after_id = end
    found = _end_of_next(connection, after_id, c < below_id)
    return None if found is None else (after_id, found)


def _end_of_next(connection: Connection, after_id: str, *which: object) -> str | None:
    """The last of the next ``PART_DECISIONS`` decisions behind an id."""
    c = decision.c.decision_id
    among = select(c).where(c > after_id, *which).order_by(c).limit(PART_DECISIONS).subquery()  # type: ignore[arg-type]
    return connection.execute(select(func.max(among.c.decision_id))).scalar()


def _write(connection: Connection, here: Path, after_id: str, last_id: str) -> dict[str, int]:
    tables = {}
    for table in ARCHIVED:
        c = table.c.decision_id
        query = select(table).where(c > after_id, c <= last_id).order_by(c)
        rows = write_rows(connection, query, table, here / f"{table.name}.parquet")
        if rows:
            tables[table.name] = rows
    if decision.name not in tables:
        raise StorageUnavailableError("The decisions to be archived were deleted meanwhile.")
    return tables


def _note(connection: Connection, row: dict[str, object]) -> None:
    connection.execute(delete(archived_part).where(archived_part.c.last_id == row["last_id"]))
    connection.execute(insert(archived_part), row)


def dropped_parts(connection: Connection) -> list[Part]:
    """The parts whose decisions are in the archive alone, the oldest first."""
    here = _last_ids_here(connection)
    return [part for part in parts_of(connection) if part.last_id not in here]


def _last_ids_here(connection: Connection) -> frozenset[str]:
    """Of the parts whose last decision is in the database, and so are all of them: they are deleted together."""
    c = archived_part.c
    return frozenset(
        connection.execute(select(c.last_id).join(decision, decision.c.decision_id == c.last_id)).scalars()
    )


def _stale(connection: Connection) -> list[str]:
    """Parts for whose decisions something came after they were written, while those are still in the database."""
    here = _last_ids_here(connection)
    found = []
    for part in parts_of(connection):
        if part.last_id not in here:
            continue
        since_us = part.archived_at_us - _SLACK_US
        for table in (reward_event, arm_reward, usage_report):
            c = table.c
            news = exists().where(
                c.decision_id > part.after_id, c.decision_id <= part.last_id, c.received_at_us >= since_us
            )
            if connection.execute(select(news)).scalar():
                found.append(part.last_id)
                break
    return found


def _forget(connection: Connection, last_ids: list[str]) -> None:
    connection.execute(delete(archived_part).where(archived_part.c.last_id.in_(last_ids)))
