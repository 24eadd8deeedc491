"""Comparisons in SQL: pairs that are claimed until a time, as answers that wait to be judged are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any, Final

from sqlalchemy import Connection, and_, delete, select

from banditd.core.comparing import (
    Compared,
    ComparisonFilter,
    ComparisonTask,
    Orders,
    PairToCompare,
    StoredComparison,
)
from banditd.core.ids import new_id
from banditd.core.judging import JudgeCost
from banditd.storage import claims, dialect
from banditd.storage.codec import clean_text
from banditd.storage.engine import Database
from banditd.storage.hourly_book import HourlyBook, booking
from banditd.storage.schema import JUDGE_SUMS, comparison, comparison_task, judge_account

_PAIR: Final = (
    "decision_id", "judge", "policy", "arm", "served_arm", "probability", "question", "served_answer", "answer",
    "created_at_us", "expires_at_us",
)  # fmt: skip
_TEXTS: Final = ("question", "served_answer", "answer")


class SqlComparisonStore:
    """``ports.comparing.ComparisonStore`` over one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._new = dialect.insert_into(database.engine, comparison).on_conflict_do_nothing()
        self._book = HourlyBook(database.engine, judge_account, JUDGE_SUMS)

    async def lease(
        self, judge: str, *, limit: int, until_us: int, now_us: int, max_attempts: int
    ) -> list[ComparisonTask]:
        claimed = await claims.claim(
            self._database, comparison_task, judge,
            limit=limit, until_us=until_us, now_us=now_us, max_attempts=max_attempts,
        )  # fmt: skip
        return [_task(row) for row in claimed]

    async def finish(
        self, task_id: str, lease: str, *, version: str, orders: Orders, cost: JudgeCost, now_us: int
    ) -> StoredComparison | None:
        def work(connection: Connection) -> StoredComparison | None:
            row = claims.take(connection, comparison_task, task_id, lease)
            if row is None:
                return None
            kept = {name: row[name] for name in _PAIR if name in comparison.c} | {
                "version": version, "outcome": orders.outcome, "cost_usd": float(cost.cost_usd),
                "compared_at_us": now_us, "task_id": task_id, "served_first": orders.served_first,
                "baseline_first": orders.baseline_first, "served_chars": len(row["served_answer"]),
                "answer_chars": len(row["answer"]),
            }  # fmt: skip
            connection.execute(self._new, kept)
            self._book.book(connection, [booking(row["judge"], row["policy"], now_us, **asdict(cost))])
            return _stored(kept)

        return await self._database.write(work)

    async def give_back(
        self, task_id: str, lease: str, *, due_at_us: int, max_attempts: int, cost: JudgeCost, now_us: int
    ) -> bool:
        def work(connection: Connection) -> bool:
            back = claims.give_back(
                connection, comparison_task, task_id, lease, due_at_us=due_at_us, max_attempts=max_attempts
            )
            if back is None:
                return False
            judge, policy, _last = back
            self._book.book(connection, [booking(judge, policy, now_us, **asdict(cost))])
            return True

        return await self._database.write(work)

    async def drop(self, now_us: int) -> int:
        c = comparison_task.c
        found = select(c.task_id).where(c.expires_at_us <= now_us).order_by(c.task_id).limit(claims.CHUNK)
        if not await self._database.finds(found):
            return 0

        def work(connection: Connection) -> int:
            ids = claims.locked(connection, self._database, found)
            return connection.execute(delete(comparison_task).where(c.task_id.in_(ids))).rowcount

        return await self._database.write(work)

    async def of_task(self, task_id: str) -> StoredComparison | None:
        query = select(comparison).where(comparison.c.task_id == task_id)
        row = await self._database.read(lambda connection: connection.execute(query).mappings().first())
        return None if row is None else _stored(row)

    async def judge_of(self, task_id: str) -> str | None:
        query = select(comparison_task.c.judge).where(comparison_task.c.task_id == task_id)
        return await self._database.read(lambda connection: connection.execute(query).scalar())

    async def page(self, which: ComparisonFilter) -> list[StoredComparison]:
        c = comparison.c
        wanted = [c[name] == value for name in ("judge", "policy") if (value := getattr(which, name)) is not None]
        order = (c.decision_id.desc(), c.judge, c.arm)
        query = select(comparison).where(*wanted).order_by(*order)
        first = query if which.before_id is None else query.where(c.decision_id < which.before_id)

        def read(connection: Connection) -> list[StoredComparison]:
            rows = [_stored(row) for row in connection.execute(first.limit(which.limit)).mappings()]
            if len(rows) < which.limit:
                return rows
            last = rows[-1].decision_id
            others = connection.execute(query.where(c.decision_id == last)).mappings()
            return [one for one in rows if one.decision_id != last] + [_stored(row) for row in others]

        return await self._database.read(read)

    async def compared(self, judge: str, version: str) -> list[Compared]:
        c = comparison.c
        which = and_(c.judge == judge, c.version == version)
        columns = (c.policy, c.arm, c.outcome, c.served_chars, c.answer_chars)
        query = select(*columns).where(which).order_by(c.compared_at_us, c.decision_id)
        return await self._database.read(
            lambda connection: [Compared(**row) for row in connection.execute(query).mappings()]
        )

    async def waiting(self) -> Mapping[str, int]:
        return await self._database.read(lambda connection: claims.waiting(connection, comparison_task))


def pair_row(pair: PairToCompare) -> dict[str, Any]:
    """A new row of the queue."""
    row = {name: getattr(pair, name) for name in _PAIR} | {name: clean_text(getattr(pair, name)) for name in _TEXTS}
    return row | {"task_id": new_id(pair.created_at_us), "due_at_us": pair.created_at_us, "attempts": 0}


def _stored(row: Mapping[Any, Any]) -> StoredComparison:
    both = row["served_first"], row["baseline_first"]
    columns = [one.name for one in fields(StoredComparison) if one.name != "orders"]
    orders = None if None in both else Orders(*both)
    return StoredComparison(**{name: row[name] for name in columns}, orders=orders)


def _task(row: Mapping[Any, Any]) -> ComparisonTask:
    pair = PairToCompare(**{name: row[name] for name in _PAIR})
    return ComparisonTask(task_id=row["task_id"], lease=row["lease"], attempts=row["attempts"], pair=pair)
