"""Judging in SQL: a queue whose rows are claimed until a time, verdicts that exist once, additive accounts.

A claim is a word in the row: whoever writes a verdict must still have it, in the same transaction that deletes the
row. So a replica that was thought dead and comes back writes nothing twice, and one that is killed leaves a row that
anybody may claim when its time is over. Answers of probes wait in a table of their own (``schema/judging.py``) and
are claimed, judged and given back as the others are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from sqlalchemy import Connection, Table, and_, case, delete, exists, insert, or_, select, update

from banditd.core.ids import new_id
from banditd.core.judging import AnswerToJudge, JudgeAccount, JudgeCost, JudgeTask, StoredJudgement
from banditd.storage import claims, dialect
from banditd.storage.classifying import ACCOUNT as CLASSIFIER
from banditd.storage.codec import clean_text
from banditd.storage.engine import Database
from banditd.storage.hourly_book import Booking, HourlyBook, booking
from banditd.storage.judge_verdicts import SqlVerdicts, stored
from banditd.storage.schema import (
    JUDGE_SUMS,
    decision,
    judge_account,
    judge_task,
    judgement,
    probe_answer,
    probe_judgement,
)

QUEUES: Final = ((judge_task, judgement), (probe_answer, probe_judgement))
"""(what waits, its verdicts): of answers that were served, and of those of probes."""
_TASK: Final = (
    "decision_id", "judge", "version", "policy", "arm", "probability", "question", "answer", "created_at_us",
    "expires_at_us",
)  # fmt: skip
LONGEST_CLAIM_US: Final = 7_200_000_000
"""No claim and no pause is longer (an hour over HTTP): what is due later was written by a clock that was ahead."""


class SqlJudgingStore(SqlVerdicts):
    """``ports.judging.JudgingStore`` over one database."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._new_verdict = {
            tasks: dialect.insert_into(database.engine, verdicts).on_conflict_do_nothing()
            for tasks, verdicts in QUEUES
        }
        self._book = HourlyBook(database.engine, judge_account, JUDGE_SUMS)

    # ---------------------------------------------------------------- the queue

    async def sample(self, answers: Sequence[AnswerToJudge], most: Mapping[str, int]) -> list[AnswerToJudge]:
        return await self._database.write(lambda connection: self._sample(connection, answers, most))

    def _sample(
        self, connection: Connection, answers: Sequence[AnswerToJudge], most: Mapping[str, int]
    ) -> list[AnswerToJudge]:
        """Everything else of a replica is written behind it: few statements, however many answers."""
        waiting = dict(_waiting(connection))
        ids = [answer.decision_id for answer in answers]
        known = set(
            connection.execute(select(decision.c.decision_id).where(decision.c.decision_id.in_(ids))).scalars()
        )
        here = {
            (row.decision_id, row.judge)
            for table in (judge_task, judgement)
            for row in connection.execute(
                select(table.c.decision_id, table.c.judge).where(table.c.decision_id.in_(ids))
            )
        }
        rows, bookings, dropped = [], [], []
        for answer in answers:
            if (answer.decision_id, answer.judge) in here:
                continue
            at_us, place = answer.created_at_us, waiting.get(answer.judge, 0)
            if place >= most.get(answer.judge, 0) or answer.decision_id not in known:
                dropped.append(answer)
                bookings.append(booking(answer.judge, answer.policy, at_us, sampled=1, dropped=1))
                continue
            waiting[answer.judge] = place + 1
            rows.append(task_row(answer))
            bookings.append(booking(answer.judge, answer.policy, at_us, sampled=1))
        if rows:
            rows.sort(key=lambda row: (row["decision_id"], row["judge"]))  # decisions are locked in this order
            connection.execute(insert(judge_task), rows)
        self._book.book(connection, bookings)
        return dropped

    async def lease(
        self, judge: str, version: str, *, limit: int, until_us: int, now_us: int, max_attempts: int
    ) -> list[JudgeTask]:
        found: list[JudgeTask] = []
        for tasks, _ in QUEUES:
            if len(found) < limit:
                claimed = await claims.claim(
                    self._database, tasks, judge, version=version,
                    limit=limit - len(found), until_us=until_us, now_us=now_us, max_attempts=max_attempts,
                )  # fmt: skip
                found += [_task(row) for row in claimed]
        return found

    async def finish(
        self, task_id: str, lease: str, *, score: float, reason: str, cost: JudgeCost, now_us: int
    ) -> StoredJudgement | None:
        def work(connection: Connection) -> StoredJudgement | None:
            for tasks, verdicts in QUEUES:
                row = claims.take(connection, tasks, task_id, lease)
                if row is None:
                    continue
                verdict = {
                    "decision_id": row["decision_id"], "judge": row["judge"], "task_id": task_id,
                    "version": row["version"], "policy": row["policy"], "arm": row["arm"],
                    "probability": row["probability"], "score": float(score), "reason": clean_text(reason),
                    "cost_usd": float(cost.cost_usd), "judged_at_us": now_us, "reward": "pending",
                }  # fmt: skip
                connection.execute(self._new_verdict[tasks], verdict)
                self._book.book(connection, [_cost(row["judge"], row["policy"], now_us, cost, judged=1)])
                return stored(verdict, verdicts)
            return None

        return await self._database.write(work)

    async def give_back(
        self, task_id: str, lease: str, *, due_at_us: int, max_attempts: int, cost: JudgeCost, now_us: int
    ) -> str | None:
        def work(connection: Connection) -> str | None:
            for tasks, _ in QUEUES:
                back = claims.give_back(
                    connection, tasks, task_id, lease, due_at_us=due_at_us, max_attempts=max_attempts
                )
                if back is not None:
                    judge, policy, last = back
                    self._book.book(connection, [_cost(judge, policy, now_us, cost, failed=int(last))])
                    return judge
            return None

        return await self._database.write(work)

    async def has_task(self, task_id: str) -> bool:
        here = [exists().where(tasks.c.task_id == task_id) for tasks, _ in QUEUES]
        return await self._database.finds(select(1).where(or_(*here)))

    async def book(self, judge: str, policy: str, cost: JudgeCost, now_us: int) -> None:
        booked = _cost(judge, policy, now_us, cost)
        await self._database.write(lambda connection: self._book.book(connection, [booked]))

    async def drop(self, now_us: int, limits: Mapping[str, int]) -> int:
        return sum([await self._drop(tasks, now_us, limits) for tasks, _ in QUEUES])

    async def _wind_back(self, tasks: Table, now_us: int) -> None:
        """Times that a clock wrote which was far ahead are as if of now: no text waits for years for its time."""
        c, latest_us = tasks.c, now_us + LONGEST_CLAIM_US
        made, due = c.created_at_us > latest_us, c.due_at_us > latest_us
        if not await self._database.finds(select(c.task_id).where(or_(made, due))):
            return
        wound = update(tasks).where(or_(made, due)).values(
            created_at_us=case((made, now_us), else_=c.created_at_us),
            expires_at_us=case((made, c.expires_at_us - c.created_at_us + now_us), else_=c.expires_at_us),
            due_at_us=case((due, now_us), else_=c.due_at_us),
        )  # fmt: skip
        await self._database.write(lambda connection: connection.execute(wound) and None)

    async def _drop(self, tasks: Table, now_us: int, limits: Mapping[str, int]) -> int:
        await self._wind_back(tasks, now_us)
        c = tasks.c
        tried = [
            and_(c.judge == judge, c.attempts >= attempts, c.due_at_us <= now_us)
            for judge, attempts in limits.items()
        ]
        over = or_(c.expires_at_us <= now_us, *tried)
        found = select(c.task_id).where(over).order_by(c.due_at_us, c.task_id).limit(claims.CHUNK)
        if not await self._database.finds(found):
            return 0

        def work(connection: Connection) -> int:
            ids = claims.locked(connection, self._database, found)
            gone = connection.execute(
                delete(tasks).where(c.task_id.in_(ids), over).returning(c.judge, c.policy, c.attempts)
            ).all()
            bookings = []
            for judge, policy, attempts in gone:
                failed = int(attempts >= limits.get(judge, attempts + 1))
                bookings.append(booking(judge, policy, now_us, failed=failed, dropped=1 - failed))
            self._book.book(connection, bookings)
            return len(gone)

        return await self._database.write(work)

    # ---------------------------------------------------------------- accounts

    async def accounts(self, since_us: int | None = None) -> Mapping[str, JudgeAccount]:
        found = await self._database.read(lambda connection: self._book.totals(connection, since_us))
        return {judge: JudgeAccount(
            sampled=sums["sampled"], dropped=sums["dropped"], judged=sums["judged"], failed=sums["failed"],
            cost=JudgeCost(**{name: sums[name] for name in ("calls", "input_tokens", "output_tokens", "cost_usd")}),
        ) for judge, sums in found.items()}  # fmt: skip

    async def spent_usd(self, policy: str, since_us: int | None, until_us: int | None) -> float:
        of_judges = judge_account.c.judge != CLASSIFIER.format(policy=policy)
        return await self._database.read(
            lambda connection: self._book.cost_usd(connection, policy, since_us, until_us, of_judges)
        )

    async def waiting(self) -> Mapping[str, int]:
        return await self._database.read(_waiting)

    async def leased(self, now_us: int) -> Mapping[str, int]:
        return await self._database.read(lambda connection: _waiting(connection, leased_at_us=now_us))


def task_row(answer: AnswerToJudge) -> dict[str, Any]:
    """A new row of either queue."""
    return {name: getattr(answer, name) for name in _TASK} | {
        "question": clean_text(answer.question), "answer": clean_text(answer.answer),
        "task_id": new_id(answer.created_at_us), "due_at_us": answer.created_at_us, "attempts": 0,
    }  # fmt: skip


def _cost(judge: str, policy: str, at_us: int, cost: JudgeCost, **counts: int) -> Booking:
    return booking(judge, policy, at_us, **counts, **asdict(cost))


def _waiting(connection: Connection, *, leased_at_us: int | None = None) -> dict[str, int]:
    found: Counter[str] = Counter()
    for tasks, _ in QUEUES:
        leased = () if leased_at_us is None else (tasks.c.lease.is_not(None), tasks.c.due_at_us > leased_at_us)
        found.update(claims.waiting(connection, tasks, *leased))
    return found


def _task(row: Mapping[Any, Any]) -> JudgeTask:
    return JudgeTask(
        task_id=row["task_id"],
        lease=row["lease"],
        attempts=row["attempts"],
        leased_until_us=row["due_at_us"],
        answer=AnswerToJudge(**{name: row[name] for name in _TASK}),
    )
