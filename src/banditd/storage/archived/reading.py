"""The whole log: what is archived, then what is in the database; each decision once.

For a while a decision is in both, between being archived and its partition being dropped: then the database's counts.
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, TypeVar

from sqlalchemy import Connection, Engine, create_engine, select
from sqlalchemy.pool import NullPool

from banditd.core.errors import ConfigurationError, InvalidInputError, StorageUnavailableError
from banditd.core.ids import end_id, first_id
from banditd.ports import FoldCommit, FoldItem
from banditd.ports.evaluations import Coverage, LoggedDecision
from banditd.storage.among import among, rows_among
from banditd.storage.archived.files import ARCHIVED, ArchiveFolder, file_of, read_rows
from banditd.storage.archived.writing import Part, dropped_parts, parts_of
from banditd.storage.engine import Database
from banditd.storage.evaluation_log import coverage, logged, taught
from banditd.storage.folds import fold_items, rewarded_ids, with_places
from banditd.storage.learning import SqlLearningStore
from banditd.storage.log_reader import OUTCOME_TYPES, read_stream
from banditd.storage.migrate import migrate
from banditd.storage.schema import decision
from banditd.storage.schema.record import ARROW_TYPES

T = TypeVar("T")
R = TypeVar("R")
_IN_ARCHIVE: Final = "archived:"
_BEHIND: Final = "~"  # greater than what ids are made of: an id with it is just behind that id
_PAGE: Final = 2_000
_FILE: Final = "part.db"


class WholeLog:
    """Reads the log of one database and its archive. folder : None where no archive is configured.

    ``taught`` and ``coverage`` make it a ``ports.evaluations.EvaluationLog``.
    """

    columns: Final[Mapping[str, str]] = ARROW_TYPES | OUTCOME_TYPES

    def __init__(self, database: Database, folder: ArchiveFolder | None) -> None:
        self._database = database
        self._folder = folder

    async def stream(self, policy: str | None, *, batch_rows: int = 1000) -> AsyncIterator[Mapping[str, object]]:
        """Every decision with its merged reward and usage, oldest first, for export and off-policy use."""

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
        parts = await self._database.read(dropped_parts)
        edge = parts[-1].last_id if parts else ""
        if before_id is None or not before_id.startswith(_IN_ARCHIVE):
            page, following = await self._database.read(
                lambda connection: taught(connection, policy, schema_hash, since_us, before_id, limit, edge),
                report=True,
            )
            below_id = min(f"{edge}{_BEHIND}", before_id or _BEHIND)
            return page, following if following is not None else _up_to(edge, below_id, since_us)
        below_id = before_id.removeprefix(_IN_ARCHIVE)
        holding = (one for one in reversed(parts) if not one.after_id or f"{one.after_id}{_BEHIND}" < below_id)
        part = next(holding, None)
        if part is None:
            return [], None
        async with self._opened(part) as engine:
            page = await asyncio.to_thread(
                _on, engine, lambda c: _all_taught(c, policy, schema_hash, since_us, below_id)
            )
        return page, _up_to(part.after_id, f"{part.after_id}{_BEHIND}", since_us)

    async def logged(self, decision_ids: Sequence[str]) -> list[LoggedDecision]:
        """As ``EvaluationLog.logged``: of decisions that were made lately, which no archive has."""
        return await self._database.read(lambda connection: logged(connection, decision_ids))

    async def coverage(self, policy: str, *, since_us: int, until_us: int) -> Coverage:
        """As ``EvaluationLog.coverage``."""
        parts = await self._database.read(dropped_parts)
        edge = parts[-1].last_id if parts else ""
        found = await self._database.read(
            lambda connection: coverage(connection, policy, since_us, until_us, edge), report=True
        )
        decisions, rated = Counter(found.decisions), Counter(found.rated)
        lowest, highest = first_id(since_us), end_id(until_us)
        for part in parts:
            if part.last_id >= lowest and part.after_id < highest:
                async with self._opened(part) as engine:
                    found = await asyncio.to_thread(_on, engine, lambda c: coverage(c, policy, since_us, until_us))
                decisions.update(found.decisions)
                rated.update(found.rated)
        return Coverage(decisions=dict(decisions), rated=dict(rated))

    async def in_database(self, decision_ids: Sequence[str]) -> set[str]:
        """Those of them whose rows are in the database."""

        def work(connection: Connection) -> set[str]:
            here = select(decision.c.decision_id).where(among(decision.c.decision_id))
            return {row.decision_id for row in rows_among(connection, here, decision_ids)}

        return await self._database.read(work, report=True)

    # ------------------------------------------------------------ parts

    async def _all(
        self, read: Callable[[Connection, str], list[R]], id_of: Callable[[R], str], batch_rows: int
    ) -> AsyncIterator[list[R]]:
        """All that ``read`` finds batch by batch behind an id, in the database and in the archive, in order."""
        parts = await self._database.read(parts_of)
        here = self._behind(lambda work: self._database.read(work, report=True), read, id_of, batch_rows, "")
        if not parts:
            async for batch in _batched(here, batch_rows):
                yield batch
            return
        async for batch in _batched(_merged(here, self._archived(parts, read, id_of, batch_rows), id_of), batch_rows):
            yield batch
        if parts != await self._database.read(parts_of):
            raise StorageUnavailableError("Part of the log was archived while it was read. Try again.")

    async def _archived(
        self, parts: Sequence[Part], read: Callable[[Connection, str], list[R]], id_of: Callable[[R], str], rows: int
    ) -> AsyncIterator[R]:
        for part in parts:
            async with self._opened(part) as engine:
                there = self._behind(lambda work, e=engine: asyncio.to_thread(_on, e, work), read, id_of, rows, "")  # type: ignore[misc]
                async for row in there:
                    yield row

    async def _behind(
        self,
        run: Callable[[Callable[[Connection], list[R]]], Awaitable[list[R]]],
        read: Callable[[Connection, str], list[R]],
        id_of: Callable[[R], str],
        batch_rows: int,
        after: str,
    ) -> AsyncIterator[R]:
        """What one database has behind an id."""
        while True:
            rows = await run(lambda connection, after=after: read(connection, after))  # type: ignore[misc]
            for row in rows:
                yield row
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
            engine = create_engine(f"sqlite:///{Path(name) / _FILE}", poolclass=NullPool)
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


async def _merged(first: AsyncIterator[R], second: AsyncIterator[R], id_of: Callable[[R], str]) -> AsyncIterator[R]:
    """Two streams in the order of ids as one; of two rows of one id the first stream's."""
    one, other = await anext(first, None), await anext(second, None)
    while one is not None or other is not None:
        if other is None or (one is not None and id_of(one) <= id_of(other)):
            if one is None:
                raise AssertionError("unreachable")
            if other is not None and id_of(one) == id_of(other):
                other = await anext(second, None)
            yield one
            one = await anext(first, None)
        else:
            yield other
            other = await anext(second, None)


async def _batched(rows: AsyncIterator[R], size: int) -> AsyncIterator[list[R]]:
    batch: list[R] = []
    async for row in rows:
        batch.append(row)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _up_to(last_id: str, below_id: str, since_us: int | None) -> str | None:
    """The cursor of archived decisions below an id, None where the last, ``last_id``, is older than is asked for."""
    if not last_id or (since_us is not None and last_id < first_id(since_us)):
        return None
    return f"{_IN_ARCHIVE}{below_id}"


def _all_taught(
    connection: Connection, policy: str, schema_hash: str, since_us: int | None, below_id: str
) -> list[LoggedDecision]:
    found: list[LoggedDecision] = []
    following: str | None = below_id
    while following is not None:
        page, following = taught(connection, policy, schema_hash, since_us, following, _PAGE)
        found += page
    return found


def _on(engine: Engine, work: Callable[[Connection], T]) -> T:
    with engine.connect() as connection:
        return work(connection)


def _load(engine: Engine, folder: ArchiveFolder, part: Part, here: Path) -> None:
    (here / _FILE).write_bytes(_empty_database())
    local = here / "table.parquet"
    with engine.connect() as connection:
        for pragma in ("journal_mode", "synchronous", "foreign_keys"):  # it need not outlive this process
            connection.exec_driver_sql(f"PRAGMA {pragma} = OFF")
        connection.commit()
        for table in ARCHIVED:
            wanted = part.tables.get(table.name, 0)
            if not wanted:
                continue
            name = file_of(table.name, part.last_id, part.archived_at_us)
            folder.get(name, local)
            found = read_rows(connection, table, local)
            if found != wanted:
                raise InvalidInputError(f"{name} of the archived log has {found} rows instead of {wanted}")
        connection.commit()


@functools.cache
def _empty_database() -> bytes:
    """A SQLite file with all tables and views of this release, made once for all parts that are read."""
    with tempfile.TemporaryDirectory(prefix="banditd-archive-") as name:
        place = Path(name) / _FILE
        migrate(f"sqlite:///{place}")
        return place.read_bytes()
