"""The whole log: what is archived, then what is in the database; each decision once.

For a while a decision is in both, between being archived and its partition being dropped: the archive's is taken
then, and what the database has beside it is not passed over.
"""

from __future__ import annotations

import asyncio
import dataclasses
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, TypeVar

from sqlalchemy import Connection, Engine, create_engine, select
from sqlalchemy.pool import NullPool

from banditd.core.errors import ConfigurationError, InvalidInputError
from banditd.core.ids import lowest_id
from banditd.ports import FoldCommit, FoldItem
from banditd.ports.evaluations import Coverage, LoggedDecision
from banditd.storage.archived.files import ARCHIVED, ArchiveFolder, file_of, read_rows
from banditd.storage.archived.writing import Part, parts_of
from banditd.storage.engine import Database
from banditd.storage.evaluation_log import coverage, taught
from banditd.storage.folds import fold_items, rewarded_ids, with_places
from banditd.storage.learning import SqlLearningStore
from banditd.storage.log_reader import OUTCOME_TYPES, read_stream
from banditd.storage.queues import QUEUES
from banditd.storage.schema import decision, metadata
from banditd.storage.schema.record import ARROW_TYPES

T = TypeVar("T")
R = TypeVar("R")
_IN_ARCHIVE: Final = "archived:"
_CHUNK: Final = 500
_PAGE: Final = 2_000
_ID_SLACK_US: Final = 60_000_000  # an id lies within seconds of its decision's time (core.ids)
_TABLES: Final = (*ARCHIVED, *QUEUES)
"""Those that the reading statements name; nothing waits in an archive."""


class WholeLog:
    """Reads the log of one database and its archive. folder : None where no archive is configured.

    ``taught`` and ``coverage`` make it a ``ports.EvaluationLog``.
    """

    columns: Final[Mapping[str, str]] = ARROW_TYPES | OUTCOME_TYPES

    def __init__(self, database: Database, folder: ArchiveFolder | None) -> None:
        self._database = database
        self._folder = folder

    async def stream(self, policy: str | None, *, batch_rows: int = 1000) -> AsyncIterator[Mapping[str, object]]:
        """As ``DecisionLog.stream``."""

        def read(connection: Connection, after: str) -> list[dict[str, object]]:
            return read_stream(connection, policy, after, batch_rows)

        async for rows in self._all(read, lambda row: str(row["decision_id"]), batch_rows):
            for row in rows:
                yield row

    async def replay_log(self, policy: str, *, batch_rows: int = 1000) -> AsyncIterator[Sequence[FoldItem]]:
        """As ``LearningStore.replay_log``."""

        def read(connection: Connection, after: str) -> list[FoldItem]:
            return fold_items(connection, rewarded_ids(connection, policy, after, batch_rows))

        async for items in self._all(read, lambda item: item.decision_id, batch_rows):
            yield await self._database.read(lambda connection, items=items: with_places(connection, policy, items))  # type: ignore[misc]

    async def taught(
        self, policy: str, schema_hash: str, *, since_us: int | None, before_id: str | None, limit: int
    ) -> tuple[list[LoggedDecision], str | None]:
        """As ``EvaluationLog.taught``: of the database what is newer than the archive, then part by part."""
        parts = await self._database.read(parts_of)
        edge = parts[-1].last_id if parts else ""
        if before_id is None or not before_id.startswith(_IN_ARCHIVE):
            page, following = await self._database.read(
                lambda connection: taught(connection, policy, schema_hash, since_us, before_id, limit, edge),
                report=True,
            )
            return page, following if following is not None else _up_to(edge, since_us)
        position = before_id.removeprefix(_IN_ARCHIVE)
        part = next((one for one in reversed(parts) if one.after_id < position), None)
        if part is None:
            return [], None
        async with self._opened(part) as engine:
            page = await asyncio.to_thread(
                _on, engine, lambda c: _all_taught(c, policy, schema_hash, since_us, position)
            )
        return page, _up_to(part.after_id, since_us)

    async def coverage(self, policy: str, *, since_us: int, until_us: int) -> Coverage:
        """As ``EvaluationLog.coverage``."""
        parts = await self._database.read(parts_of)
        edge = parts[-1].last_id if parts else ""
        found = await self._database.read(
            lambda connection: coverage(connection, policy, since_us, until_us, edge), report=True
        )
        decisions, rated = Counter(found.decisions), Counter(found.rated)
        first_id, last_id = lowest_id(since_us - _ID_SLACK_US), lowest_id(until_us + _ID_SLACK_US)
        for part in parts:
            if part.last_id >= first_id and part.after_id < last_id:
                async with self._opened(part) as engine:
                    found = await asyncio.to_thread(_on, engine, lambda c: coverage(c, policy, since_us, until_us))
                decisions.update(found.decisions)
                rated.update(found.rated)
        return Coverage(decisions=dict(decisions), rated=dict(rated))

    async def in_database(self, decision_ids: Sequence[str]) -> set[str]:
        """Those of them whose rows are in the database."""

        def work(connection: Connection) -> set[str]:
            found: set[str] = set()
            for start in range(0, len(decision_ids), _CHUNK):
                among = decision.c.decision_id.in_(decision_ids[start : start + _CHUNK])
                found |= set(connection.execute(select(decision.c.decision_id).where(among)).scalars())
            return found

        return await self._database.read(work, report=True)

    # ------------------------------------------------------------ parts

    async def _all(
        self, read: Callable[[Connection, str], list[R]], id_of: Callable[[R], str], batch_rows: int
    ) -> AsyncIterator[list[R]]:
        """Batches of all that ``read`` finds behind an id: of each part, with what the database has beside it, then
        of the database.
        """
        edge = ""
        for part in await self._database.read(parts_of):
            async with self._opened(part) as engine:
                seen: set[str] = set()
                after = edge
                while True:
                    rows = await asyncio.to_thread(_on, engine, lambda c, after=after: read(c, after))
                    if rows:
                        yield rows
                    seen |= {id_of(row) for row in rows}
                    if len(rows) < batch_rows:
                        break
                    after = id_of(rows[-1])
            async for rows in self._behind(read, id_of, batch_rows, edge):
                beside = [row for row in rows if id_of(row) <= part.last_id and id_of(row) not in seen]
                if beside:
                    yield beside
                if not rows or id_of(rows[-1]) > part.last_id:
                    break
            edge = part.last_id
        async for rows in self._behind(read, id_of, batch_rows, edge):
            if rows:
                yield rows

    async def _behind(
        self, read: Callable[[Connection, str], list[R]], id_of: Callable[[R], str], batch_rows: int, after: str
    ) -> AsyncIterator[list[R]]:
        """What the database has behind an id."""
        while True:
            rows = await self._database.read(lambda connection, after=after: read(connection, after), report=True)  # type: ignore[misc]
            yield rows
            if len(rows) < batch_rows:
                return
            after = id_of(rows[-1])

    @asynccontextmanager
    async def _opened(self, part: Part) -> AsyncIterator[Engine]:
        """The part as a SQLite database that is gone afterwards."""
        if self._folder is None:
            raise ConfigurationError(
                "part of the log is in an archive: say in jobs.archive_url where that is (banditd check-config)"
            )
        with tempfile.TemporaryDirectory(prefix="banditd-archive-") as name:
            engine = create_engine(f"sqlite:///{Path(name) / 'part.db'}", poolclass=NullPool)
            try:
                await asyncio.to_thread(_load, engine, self._folder, part, Path(name))
                yield engine
            finally:
                engine.dispose()


class WholeLearningStore(SqlLearningStore):
    """A learning store that replays archived decisions too."""

    def __init__(self, database: Database, log: WholeLog, *, writer_name: str) -> None:
        super().__init__(database, writer_name=writer_name)
        self._log = log

    async def replay_log(self, policy: str, *, batch_rows: int = 1000) -> AsyncIterator[Sequence[FoldItem]]:
        async for items in self._log.replay_log(policy, batch_rows=batch_rows):
            yield items

    async def commit(self, fold: FoldCommit, *, holder: str) -> None:
        """What archived decisions have put into the statistics stays said in the archive alone."""
        if fold.replaces:
            here = await self._log.in_database(list(fold.contributions))
            others = await self._log.in_database([one for one, _ in fold.other_contributions])
            fold = dataclasses.replace(
                fold,
                contributions={one: put for one, put in fold.contributions.items() if one in here},
                other_contributions={key: put for key, put in fold.other_contributions.items() if key[0] in others},
            )
        await super().commit(fold, holder=holder)


def _up_to(last_id: str, since_us: int | None) -> str | None:
    """The cursor of archived decisions up to that one, None where they are older than what is asked for."""
    if not last_id or (since_us is not None and last_id < lowest_id(since_us - _ID_SLACK_US)):
        return None
    return f"{_IN_ARCHIVE}{last_id}~"


def _all_taught(
    connection: Connection, policy: str, schema_hash: str, since_us: int | None, position: str
) -> list[LoggedDecision]:
    found: list[LoggedDecision] = []
    following: str | None = position
    while following is not None:
        page, following = taught(connection, policy, schema_hash, since_us, following, _PAGE)
        found += page
    return found


def _on(engine: Engine, work: Callable[[Connection], T]) -> T:
    with engine.connect() as connection:
        return work(connection)


def _load(engine: Engine, folder: ArchiveFolder, part: Part, here: Path) -> None:
    metadata.create_all(engine, tables=[*_TABLES])
    local = here / "table.parquet"
    with engine.begin() as connection:
        connection.exec_driver_sql("PRAGMA foreign_keys = OFF")
        for table in ARCHIVED:
            wanted = part.tables.get(table.name, 0)
            if not wanted:
                continue
            name = file_of(table.name, part.last_id)
            folder.get(name, local)
            found = read_rows(connection, table, local)
            if found != wanted:
                raise InvalidInputError(f"{name} of the archived log has {found} rows instead of {wanted}")
