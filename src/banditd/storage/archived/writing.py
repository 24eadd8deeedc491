"""Putting old decisions into the archive, some thousands at a time: files written, verified, noted in the database.

A part is noted when its files are whole in their place. Killed before that, it is written anew under other names.
What is noted is given up again where a reward or a report came for it since, and then written once more. A part whose
decisions have left the database is never given up: a decision of a clock that is behind, which lies among them by its
id, stays in the database. What came for it in the last moment is archived from the rows that it has left there
(``complete``).
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import ColumnElement, Connection, Table, and_, delete, exists, func, insert, not_, select

from banditd.core.errors import StorageUnavailableError
from banditd.storage import dialect
from banditd.storage.archived.files import ARCHIVED, ArchiveFolder, file_of, write_rows
from banditd.storage.engine import Database
from banditd.storage.migrate import current_revision
from banditd.storage.partitions.layout import ARRIVING
from banditd.storage.schema import archived_part, decision

PART_DECISIONS: Final = 50_000
_ON_SQLITE: Final = 2_000  # a part is deleted in one transaction there, which every other one waits for
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
        on_sqlite = dialect.is_sqlite(database.engine.url)
        self._most = min(PART_DECISIONS, _ON_SQLITE) if on_sqlite else PART_DECISIONS

    async def keep(self, below_id: str) -> None:
        """Archive all decisions below that id with what hangs on them."""
        stale = await self._database.read(_stale, report=True)
        if stale:
            await self._database.write(lambda connection: _forget(connection, stale))
        while await self._next_part(below_id):
            pass

    async def complete(self) -> None:
        """Archive what came for decisions between their being archived and their leaving the database.

        Nothing can come for them any more, and what hung on them must not have been deleted yet.
        """
        for part in await self._database.read(_incomplete, report=True):
            await self._archive(part.after_id, part.last_id, left=part)

    async def _next_part(self, below_id: str) -> bool:
        """Archive the first stretch that is not yet; False when there is none."""
        gap = await self._database.read(lambda connection: _gap(connection, below_id, self._most))
        if gap is not None:
            await self._archive(*gap)
        return gap is not None

    async def _archive(self, after_id: str, last_id: str, *, left: Part | None = None) -> None:
        """Write and note a part. left : it has left the database, and its decisions are in these files alone."""
        at_us = time.time_ns() // 1000
        with tempfile.TemporaryDirectory(prefix="banditd-archive-") as name:
            here = Path(name)
            tables, revision = await self._database.read(
                lambda connection: (_write(connection, here, after_id, last_id, left), current_revision(connection)),
                report=True,
            )
            if left is not None:
                former = file_of(decision.name, last_id, left.archived_at_us)
                await asyncio.to_thread(self._folder.get, former, here / f"{decision.name}.parquet")
            size = await asyncio.to_thread(self._store, here, tables, last_id, at_us)
        row = {
            "last_id": last_id, "after_id": after_id, "tables": json.dumps(tables), "bytes": size,
            "decisions": tables[decision.name], "revision": revision, "archived_at_us": at_us,
        }  # fmt: skip
        await self._database.write(lambda connection: _note(connection, row))

    def held(self, connection: Connection) -> list[tuple[str, str]]:
        """(id behind which, id up to which) of the parts whose decisions are in the database still."""
        return [(part.after_id, part.last_id) for part in _parts_here(connection)]

    def oldest_held(self, connection: Connection) -> tuple[str, str] | None:
        """The first of ``held``; None where there is none, or something has come for it since it was archived."""
        part = next(iter(_parts_here(connection)), None)
        return None if part is None or _is_stale(connection, part) else (part.after_id, part.last_id)

    def _store(self, here: Path, tables: dict[str, int], last_id: str, at_us: int) -> int:
        return sum(self._folder.put(file_of(name, last_id, at_us), here / f"{name}.parquet") for name in tables)


def _gap(connection: Connection, below_id: str, most: int) -> tuple[str, str] | None:
    """(id behind which, id up to which) of the first decisions that no part holds, at most so many."""
    c = decision.c.decision_id
    ends = [(part.after_id, part.last_id) for part in parts_of(connection)]
    after_id = ""
    for begin, end in ends:
        found = _end_of_next(connection, after_id, most, c <= begin)
        if found is not None:
            return after_id, min(found, begin)
        after_id = end
    found = _end_of_next(connection, after_id, most, c < below_id)
    return None if found is None else (after_id, found)


def _end_of_next(connection: Connection, after_id: str, most: int, *which: object) -> str | None:
    """The last of the next ``most`` decisions behind an id."""
    c = decision.c.decision_id
    among = select(c).where(c > after_id, *which).order_by(c).limit(most).subquery()  # type: ignore[arg-type]
    return connection.execute(select(func.max(among.c.decision_id))).scalar()


def _write(connection: Connection, here: Path, after_id: str, last_id: str, left: Part | None) -> dict[str, int]:
    tables = {} if left is None else {decision.name: left.tables[decision.name]}
    for table in ARCHIVED:
        if table.name in tables:
            continue
        among = _among(table, after_id, last_id) if left is None else _left_of(table, left)
        query = select(table).where(among).order_by(table.c.decision_id)
        rows = write_rows(connection, query, table, here / f"{table.name}.parquet")
        if rows:
            tables[table.name] = rows
    if decision.name not in tables:
        raise StorageUnavailableError("The decisions to be archived were deleted meanwhile.")
    return tables


def _note(connection: Connection, row: dict[str, object]) -> None:
    connection.execute(delete(archived_part).where(archived_part.c.last_id == row["last_id"]))
    connection.execute(insert(archived_part), row)


def _parts_here(connection: Connection) -> list[Part]:
    here = _last_ids_here(connection)
    return [part for part in parts_of(connection) if part.last_id in here]


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
    return [part.last_id for part in _parts_here(connection) if _is_stale(connection, part)]


def _is_stale(connection: Connection, part: Part) -> bool:
    among = _among(decision, part.after_id, part.last_id)
    decisions = connection.execute(select(func.count()).select_from(decision).where(among)).scalar_one()
    return decisions != part.tables[decision.name] or any(
        _came_late(connection, table, part, _among(table, part.after_id, part.last_id)) for table in ARRIVING
    )


def _incomplete(connection: Connection) -> list[Part]:
    """Parts that have left the database after something had come for them, and of which nothing was deleted yet."""
    first = [connection.execute(select(func.min(table.c.decision_id))).scalar() for table in ARRIVING]
    oldest = min((one for one in first if one is not None), default=None)
    return [
        part
        for part in dropped_parts(connection)
        if oldest is not None
        and part.last_id >= oldest
        and any(_came_late(connection, table, part, _left_of(table, part)) for table in ARRIVING)
        # Deleting begins with these tables, so one that has less than was archived has been completed before.
        and all(_count_left(connection, table, part) >= part.tables.get(table.name, 0) for table in ARRIVING)
    ]


def _came_late(connection: Connection, table: Table, part: Part, among: ColumnElement[bool]) -> bool:
    since_us = part.archived_at_us - _SLACK_US
    return bool(connection.execute(select(exists().where(among, table.c.received_at_us >= since_us))).scalar())


def _count_left(connection: Connection, table: Table, part: Part) -> int:
    return int(connection.execute(select(func.count()).select_from(table).where(_left_of(table, part))).scalar_one())


def _among(table: Table, after_id: str, last_id: str) -> ColumnElement[bool]:
    c = table.c.decision_id
    return and_(c > after_id, c <= last_id)


def _left_of(table: Table, part: Part) -> ColumnElement[bool]:
    """What hangs on decisions of a part that have left the database; not of others that lie among them."""
    known = exists().where(decision.c.decision_id == table.c.decision_id)
    return and_(_among(table, part.after_id, part.last_id), not_(known))


def _forget(connection: Connection, last_ids: list[str]) -> None:
    connection.execute(delete(archived_part).where(archived_part.c.last_id.in_(last_ids)))
