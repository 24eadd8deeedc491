"""Evaluations in SQL: claimed until a time; a finding is written once, by who has the claim."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, and_, delete, func, insert, select, update

from banditd.core.candidate import Candidate
from banditd.core.evaluation import Evaluation, Finding, Question
from banditd.storage import dialect
from banditd.storage.engine import Database
from banditd.storage.schema import evaluation as table

_RUNNING = "running"


class SqlEvaluationStore:
    """``ports.evaluations.EvaluationStore`` over one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, evaluation: Evaluation, *, most_running: int, most_kept: int) -> bool:
        c, question = table.c, evaluation.question
        policy = question.candidate.policy
        row = {
            "evaluation_id": evaluation.evaluation_id, "policy": policy, "candidate": question.candidate.name,
            "question": json.dumps(asdict(question)), "phase": evaluation.phase,
            "created_at_us": evaluation.created_at_us, "key_name": evaluation.key_name, "leased_until_us": 0,
            "finished_at_us": evaluation.finished_at_us,
            "finding": None if evaluation.finding is None else json.dumps(asdict(evaluation.finding)),
        }  # fmt: skip
        running = select(func.count()).select_from(table).where(c.policy == policy, c.phase == _RUNNING)
        oldest_kept = (
            select(c.evaluation_id).where(c.policy == policy).order_by(c.evaluation_id.desc()).offset(most_kept - 1)
        ).limit(1)

        def work(connection: Connection) -> bool:
            if evaluation.finding is None and connection.execute(running).scalar_one() >= most_running:
                return False
            connection.execute(insert(table), row)
            kept = connection.execute(oldest_kept).scalar()
            if kept is not None:
                old = and_(c.policy == policy, c.phase != _RUNNING, c.evaluation_id < kept)
                connection.execute(delete(table).where(old))
            return True

        added: bool = await self._database.write(work)
        return added

    async def get(self, evaluation_id: str) -> Evaluation | None:
        query = select(table).where(table.c.evaluation_id == evaluation_id)

        def work(connection: Connection) -> Evaluation | None:
            row = connection.execute(query).mappings().one_or_none()
            return None if row is None else _evaluation(row)

        return await self._database.read(work)

    async def list(self, policy: str | None, candidate: str | None, limit: int) -> Sequence[Evaluation]:
        query = select(table).order_by(table.c.evaluation_id.desc()).limit(limit)
        if policy is not None:
            query = query.where(table.c.policy == policy)
        if candidate is not None:
            query = query.where(table.c.candidate == candidate)
        return await self._database.read(
            lambda connection: [_evaluation(row) for row in connection.execute(query).mappings()]
        )

    async def claim(self, lease: str, *, now_us: int, until_us: int) -> Evaluation | None:
        c = table.c
        free = and_(c.phase == _RUNNING, c.leased_until_us <= now_us)
        wanted = select(c.evaluation_id).where(free).order_by(c.evaluation_id).limit(1)
        if not await self._database.finds(wanted):
            return None

        def work(connection: Connection) -> Evaluation | None:
            found = connection.execute(dialect.lock_exclusive(self._database.engine, wanted)).scalar()
            claimed = connection.execute(
                update(table)
                .where(c.evaluation_id == found, free)
                .values(lease=lease, leased_until_us=until_us, attempts=c.attempts + 1)
                .returning(table)
            )
            row = claimed.mappings().one_or_none()
            return None if row is None else _evaluation(row)

        return await self._database.write(work)

    async def progress(self, evaluation_id: str, lease: str, *, done: int, total: int, until_us: int) -> bool:
        return await self._update_claimed(evaluation_id, lease, done=done, total=total, leased_until_us=until_us)

    async def release(self, evaluation_id: str, lease: str) -> None:
        await self._update_claimed(evaluation_id, lease, leased_until_us=0, lease=None, attempts=table.c.attempts - 1)

    async def finish(self, evaluation_id: str, lease: str, finding: Finding, *, at_us: int) -> bool:
        text = json.dumps(asdict(finding))
        return await self._update_claimed(
            evaluation_id, lease, phase=finding.phase, finding=text, finished_at_us=at_us, lease=None
        )

    async def _update_claimed(self, evaluation_id: str, claimed: str, **values: Any) -> bool:
        """Write, where this claim stands."""
        c = table.c
        this_claim = and_(c.evaluation_id == evaluation_id, c.lease == claimed, c.phase == _RUNNING)
        statement = update(table).where(this_claim).values(values)
        stands: bool = await self._database.write(lambda connection: connection.execute(statement).rowcount > 0)
        return stands


def _evaluation(row: Any) -> Evaluation:
    question = json.loads(row["question"])
    finding = None if row["finding"] is None else Finding(**json.loads(row["finding"]))
    return Evaluation(
        evaluation_id=row["evaluation_id"],
        question=Question(**{**question, "candidate": Candidate.from_plain(question["candidate"])}),
        created_at_us=row["created_at_us"],
        key_name=row["key_name"],
        finding=finding,
        finished_at_us=row["finished_at_us"],
        done=row["done"],
        total=row["total"],
        attempts=row["attempts"],
    )
