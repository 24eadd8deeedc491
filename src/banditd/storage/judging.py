"""Judging in SQL: a queue whose rows are claimed until a time, verdicts that exist once, additive accounts.

A claim is a word in the row: whoever writes a verdict must still have it, in the same transaction that deletes the
row. So a replica that was thought dead and comes back writes nothing twice, and one that is killed leaves a row that
anybody may claim when its time is over.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, and_, delete, func, insert, or_, select, update

from banditd.core.ids import new_id
from banditd.core.judging import (
    AnswerToJudge,
    JudgeAccount,
    JudgeCost,
    JudgeTask,
    LabelledVerdict,
    Refusal,
    RewardState,
    StoredJudgement,
)
from banditd.storage import dialect
from banditd.storage.codec import clean_text
from banditd.storage.engine import Database
from banditd.storage.judge_labels import labelled_verdicts
from banditd.storage.schema import JUDGE_SUMS, decision, judge_account, judge_refusal, judge_task, judgement

HOUR_US: Final = 3_600_000_000
_STORED: Final = ("decision_id", "judge", "version", "policy", "score", "probability", "reward")
_TASK: Final = (
    "decision_id", "judge", "version", "policy", "arm", "probability", "question", "answer", "created_at_us",
    "expires_at_us",
)  # fmt: skip
_CHUNK: Final = 500
_ACCOUNT_KEY: Final = ("judge", "policy", "hour_at_us")
_Booking = tuple[tuple[str, str, int], Mapping[str, float]]  # key of the account, what is added to its sums


class SqlJudgingStore:
    """``ports.JudgingStore`` over one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._new_verdict = dialect.insert_into(database.engine, judgement).on_conflict_do_nothing()
        self._new_refusal = dialect.insert_into(database.engine, judge_refusal).on_conflict_do_nothing()
        self._add_up = dialect.add_up(database.engine, judge_account, JUDGE_SUMS)

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
                bookings.append(_booking(answer.judge, answer.policy, at_us, sampled=1, dropped=1))
                continue
            waiting[answer.judge] = place + 1
            rows.append({name: getattr(answer, name) for name in _TASK} | {
                "question": clean_text(answer.question), "answer": clean_text(answer.answer),
                "task_id": new_id(at_us), "due_at_us": at_us, "attempts": 0,
            })  # fmt: skip
            bookings.append(_booking(answer.judge, answer.policy, at_us, sampled=1))
        if rows:
            rows.sort(key=lambda row: (row["decision_id"], row["judge"]))  # decisions are locked in this order
            connection.execute(insert(judge_task), rows)
        self._book(connection, bookings)
        return dropped

    async def lease(
        self, judge: str, version: str, *, limit: int, until_us: int, now_us: int, max_attempts: int
    ) -> list[JudgeTask]:
        c = judge_task.c
        free = and_(c.judge == judge, c.due_at_us <= now_us, c.expires_at_us > now_us, c.attempts < max_attempts)
        wanted = select(c.task_id).where(free).order_by(c.due_at_us, c.task_id).limit(limit)
        if not await self._database.read(lambda connection: connection.execute(wanted).first()):
            return []

        def claim(connection: Connection) -> list[JudgeTask]:
            ids = connection.execute(dialect.lock_exclusive(self._database.engine, wanted)).scalars().all()
            claimed = connection.execute(
                update(judge_task)
                .where(c.task_id.in_(ids), free)
                .values(due_at_us=until_us, attempts=c.attempts + 1, lease=new_id(now_us), version=version)
                .returning(judge_task)
            )
            return sorted((_task(row) for row in claimed.mappings()), key=lambda task: task.task_id)

        tasks: list[JudgeTask] = await self._database.write(claim)
        return tasks

    async def finish(
        self, task_id: str, lease: str, *, score: float, reason: str, cost: JudgeCost, now_us: int
    ) -> StoredJudgement | None:
        def work(connection: Connection) -> StoredJudgement | None:
            row = self._taken(connection, task_id, lease)
            if row is None:
                return None
            verdict = {
                "decision_id": row["decision_id"], "judge": row["judge"], "task_id": task_id,
                "version": row["version"], "policy": row["policy"], "arm": row["arm"],
                "probability": row["probability"], "score": float(score), "reason": clean_text(reason),
                "cost_usd": float(cost.cost_usd), "judged_at_us": now_us, "reward": "pending",
            }  # fmt: skip
            connection.execute(self._new_verdict, verdict)
            self._book(connection, [_booking(row["judge"], row["policy"], now_us, cost, judged=1)])
            return StoredJudgement(**{name: verdict[name] for name in _STORED})

        return await self._database.write(work)

    async def give_back(
        self, task_id: str, lease: str, *, due_at_us: int, max_attempts: int, cost: JudgeCost, now_us: int
    ) -> str | None:
        c = judge_task.c

        def work(connection: Connection) -> str | None:
            mine = and_(c.task_id == task_id, c.lease == lease)
            row = connection.execute(
                update(judge_task).where(mine).values(due_at_us=due_at_us, lease=None).returning(judge_task)
            ).one_or_none()
            if row is None:
                return None
            last = row.attempts >= max_attempts
            if last:
                connection.execute(delete(judge_task).where(c.task_id == task_id))
            self._book(connection, [_booking(row.judge, row.policy, now_us, cost, failed=int(last))])
            return str(row.judge)

        return await self._database.write(work)

    def _taken(self, connection: Connection, task_id: str, lease: str) -> Mapping[str, Any] | None:
        """The task, taken out of the queue, where this claim of it stands."""
        c = judge_task.c
        taken = delete(judge_task).where(c.task_id == task_id, c.lease == lease).returning(judge_task)
        row = connection.execute(taken).mappings().one_or_none()
        return None if row is None else dict(row)

    async def judgement_of_task(self, task_id: str) -> StoredJudgement | None:
        query = select(*(judgement.c[name] for name in _STORED)).where(judgement.c.task_id == task_id)
        row = await self._database.read(lambda connection: connection.execute(query).mappings().one_or_none())
        return None if row is None else StoredJudgement(**row)

    async def has_task(self, task_id: str) -> bool:
        query = select(judge_task.c.task_id).where(judge_task.c.task_id == task_id)
        return await self._database.read(lambda connection: connection.execute(query).first() is not None)

    async def book(self, judge: str, policy: str, cost: JudgeCost, now_us: int) -> None:
        booking = _booking(judge, policy, now_us, cost)
        await self._database.write(lambda connection: self._book(connection, [booking]))

    async def drop(self, now_us: int, limits: Mapping[str, int]) -> int:
        c = judge_task.c
        tried = [
            and_(c.judge == judge, c.attempts >= attempts, c.due_at_us <= now_us)
            for judge, attempts in limits.items()
        ]
        over = or_(c.expires_at_us <= now_us, *tried)
        found = select(c.task_id).where(over).order_by(c.due_at_us, c.task_id).limit(_CHUNK)
        if not await self._database.read(lambda connection: connection.execute(found).first()):
            return 0

        def work(connection: Connection) -> int:
            ids = list(connection.execute(dialect.lock_exclusive(self._database.engine, found)).scalars())
            gone = connection.execute(
                delete(judge_task).where(c.task_id.in_(ids), over).returning(c.judge, c.policy, c.attempts)
            ).all()
            bookings = []
            for judge, policy, attempts in gone:
                failed = int(attempts >= limits.get(judge, attempts + 1))
                bookings.append(_booking(judge, policy, now_us, failed=failed, dropped=1 - failed))
            self._book(connection, bookings)
            return len(gone)

        return await self._database.write(work)

    # ---------------------------------------------------------------- verdicts

    async def with_reward(self, judge: str, state: RewardState, limit: int) -> list[StoredJudgement]:
        return await self._judgements(limit, judgement.c.judge == judge, judgement.c.reward == state)

    async def counted_of(self, judge: str, version: str, limit: int) -> list[StoredJudgement]:
        c = judgement.c
        return await self._judgements(limit, c.judge == judge, c.version == version, c.reward == "counted")

    async def _judgements(self, limit: int, *which: ColumnElement[bool]) -> list[StoredJudgement]:
        c = judgement.c
        query = select(*(c[name] for name in _STORED)).where(*which).order_by(c.decision_id).limit(limit)
        return await self._database.read(
            lambda connection: [StoredJudgement(**row) for row in connection.execute(query).mappings()]
        )

    async def mark(self, judgements: Sequence[StoredJudgement], state: RewardState) -> None:
        c = judgement.c
        found: dict[tuple[str, RewardState], list[str]] = {}
        for one in judgements:
            found.setdefault((one.judge, one.reward), []).append(one.decision_id)

        def work(connection: Connection) -> None:
            for (judge, before), ids in found.items():
                which = and_(c.judge == judge, c.decision_id.in_(ids))
                if state != "counted":
                    which = and_(which, c.reward == before)
                ordered = select(c.decision_id).where(which).order_by(c.decision_id)
                connection.execute(dialect.lock_exclusive(self._database.engine, ordered))
                connection.execute(update(judgement).where(which).values(reward=state))

        await self._database.write(work)

    async def verdicts(self, judge: str, version: str, people: Collection[str], limit: int) -> list[LabelledVerdict]:
        return await self._database.read(
            lambda connection: labelled_verdicts(connection, judge, version, people, limit)
        )

    async def refuse(self, refusal: Refusal) -> bool:
        row = {
            "judge": refusal.judge, "version": refusal.version, "reason": refusal.reason,
            "refused_at_us": refusal.at_us,
        }  # fmt: skip

        def work(connection: Connection) -> bool:
            return connection.execute(self._new_refusal.values(row)).rowcount > 0

        return await self._database.write(work)

    async def refusals(self) -> Mapping[tuple[str, str], Refusal]:
        rows = await self._database.read(lambda connection: connection.execute(select(judge_refusal)).all())
        return {(row.judge, row.version): Refusal(
            judge=row.judge, version=row.version, reason=row.reason, at_us=row.refused_at_us
        ) for row in rows}  # fmt: skip

    # ---------------------------------------------------------------- accounts

    def _book(self, connection: Connection, bookings: Iterable[_Booking]) -> None:
        """Rows of the account in the order of their keys: two replicas never wait for each other."""
        added: dict[tuple[Any, ...], dict[str, Any]] = {}
        for key, sums in bookings:
            row = added.setdefault(key, dict(zip(_ACCOUNT_KEY, key, strict=True)) | dict.fromkeys(JUDGE_SUMS, 0))
            for name, value in sums.items():
                row[name] += value
        if added:
            connection.execute(self._add_up, [added[key] for key in sorted(added)])

    async def accounts(self, since_us: int | None = None) -> Mapping[str, JudgeAccount]:
        c = judge_account.c
        query = select(c.judge, *(func.sum(c[name]).label(name) for name in JUDGE_SUMS)).group_by(c.judge)
        if since_us is not None:
            query = query.where(c.hour_at_us >= since_us - since_us % HOUR_US)
        rows = await self._database.read(lambda connection: connection.execute(query).all())
        return {row.judge: JudgeAccount(
            sampled=int(row.sampled), dropped=int(row.dropped), judged=int(row.judged), failed=int(row.failed),
            cost=JudgeCost(
                calls=int(row.calls), input_tokens=int(row.input_tokens), output_tokens=int(row.output_tokens),
                cost_usd=float(row.cost_usd),
            ),
        ) for row in rows}  # fmt: skip

    async def spent_usd(self, policy: str, since_us: int | None, until_us: int | None) -> float:
        c = judge_account.c
        query = select(func.sum(c.cost_usd)).where(c.policy == policy)
        if since_us is not None:
            query = query.where(c.hour_at_us >= since_us - since_us % HOUR_US)
        if until_us is not None:
            query = query.where(c.hour_at_us < until_us)
        found: float | None = await self._database.read(lambda connection: connection.execute(query).scalar())
        return found or 0.0

    async def waiting(self) -> Mapping[str, int]:
        return await self._database.read(_waiting)


def _booking(judge: str, policy: str, at_us: int, cost: JudgeCost | None = None, **counts: int) -> _Booking:
    return (judge, policy, at_us - at_us % HOUR_US), {**counts, **({} if cost is None else asdict(cost))}


def _waiting(connection: Connection) -> dict[str, int]:
    query = select(judge_task.c.judge, func.count()).group_by(judge_task.c.judge)
    return {judge: int(count) for judge, count in connection.execute(query)}


def _task(row: Mapping[Any, Any]) -> JudgeTask:
    return JudgeTask(
        task_id=row["task_id"],
        lease=row["lease"],
        attempts=row["attempts"],
        leased_until_us=row["due_at_us"],
        answer=AnswerToJudge(**{name: row[name] for name in _TASK}),
    )
