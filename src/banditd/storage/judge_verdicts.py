"""Verdicts, labels and refusals in SQL: what became of each verdict as a reward, and which judges do not count."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Select, Table, and_, select, update

from banditd.core.judging import LabelledVerdict, Refusal, RewardState, StoredJudgement
from banditd.storage import dialect
from banditd.storage.among import among, in_chunks
from banditd.storage.engine import Database
from banditd.storage.schema import judge_refusal, judgement, probe_judgement, reward_event

STORED: Final = ("decision_id", "judge", "version", "policy", "score", "probability", "reward")


class SqlVerdicts:
    """Verdicts on the answers that were served, and on those of probes, over one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._new_refusal = dialect.insert_into(database.engine, judge_refusal).on_conflict_do_nothing()

    async def judgement_of_task(self, task_id: str) -> StoredJudgement | None:
        def read(connection: Connection) -> StoredJudgement | None:
            found = (_stored(connection, table, table.c.task_id == task_id) for table in (judgement, probe_judgement))
            return next((one for some in found for one in some), None)

        return await self._database.read(read)

    async def with_reward(self, judge: str, state: RewardState, limit: int) -> list[StoredJudgement]:
        return await self._judgements(limit, judge=judge, reward=state)

    async def counted_of(self, judge: str, version: str, limit: int) -> list[StoredJudgement]:
        return await self._judgements(limit, judge=judge, version=version, reward="counted")

    async def _judgements(self, limit: int, **which: str) -> list[StoredJudgement]:
        def read(connection: Connection) -> list[StoredJudgement]:
            found: list[StoredJudgement] = []
            for table in (judgement, probe_judgement):
                wanted = [table.c[name] == value for name, value in which.items()]
                found += _stored(connection, table, *wanted, limit=limit - len(found))
            return found

        return await self._database.read(read)

    async def mark(self, judgements: Sequence[StoredJudgement], state: RewardState) -> None:
        found: dict[tuple[Table, str, RewardState], list[str | tuple[str, str]]] = {}
        for one in judgements:
            if one.probed_arm is None:
                found.setdefault((judgement, one.judge, one.reward), []).append(one.decision_id)
            else:
                key = (one.decision_id, one.probed_arm)
                found.setdefault((probe_judgement, one.judge, one.reward), []).append(key)

        def work(connection: Connection) -> None:
            for (table, judge, before), keys in found.items():
                c = table.c
                of = (c.decision_id,) if table is judgement else (c.decision_id, c.arm)
                which = and_(c.judge == judge, among(*of))
                if state != "counted":
                    which = and_(which, c.reward == before)
                ordered = select(*of).where(which).order_by(*of)
                for chunk in in_chunks(keys):
                    connection.execute(dialect.lock_exclusive(self._database.engine, ordered), chunk)
                    connection.execute(update(table).where(which).values(reward=state), chunk)

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


def _stored(
    connection: Connection, table: Table, *which: ColumnElement[bool], limit: int | None = None
) -> list[StoredJudgement]:
    c = table.c
    query = select(*(c[name] for name in STORED), c.arm).where(*which).order_by(c.decision_id, c.arm).limit(limit)
    return [stored(row, table) for row in connection.execute(query).mappings()]


def stored(row: Mapping[Any, Any], table: Table) -> StoredJudgement:
    """A row of ``judgement`` or ``probe_judgement``."""
    arm = None if table is judgement else row["arm"]
    return StoredJudgement(**{name: row[name] for name in STORED}, probed_arm=arm)


MOST_EVENTS: Final = 20_000


def labelled_verdicts(
    connection: Connection, judge: str, version: str, people: Collection[str], limit: int
) -> list[LabelledVerdict]:
    """The newest ``limit`` verdicts and the oldest labelled ones, each decision once, oldest label first, then those
    without one. Of a person's word its newest revision counts, unless it was taken back.
    """
    labels: dict[str, dict[str, tuple[float | None, int]]] = {}
    verdicts: dict[str, Any] = {}
    for row in connection.execute(_events(judge, version, people)):
        verdicts[row.decision_id] = row
        of_decision = labels.setdefault(row.decision_id, {})
        first_us = of_decision.get(row.identity, (None, row.received_at_us))[1]
        of_decision[row.identity] = (None if row.kind == "retraction" else row.reward, first_us)
    c = judgement.c
    newest = (
        select(c.decision_id, c.arm, c.score, c.probability)
        .where(c.judge == judge, c.version == version)
        .order_by(c.decision_id.desc())
        .limit(limit)
    )
    for row in connection.execute(newest):
        verdicts.setdefault(row.decision_id, row)
    found = [_verdict(row, labels.get(decision_id, {})) for decision_id, row in verdicts.items()]
    return sorted(found, key=lambda one: (one.label is None, one.labelled_at_us, one.decision_id))


def _events(judge: str, version: str, people: Collection[str]) -> Select[Any]:
    c, event = judgement.c, reward_event.c
    return (
        select(
            c.decision_id, c.arm, c.score, c.probability,
            event.identity, event.kind, event.reward, event.received_at_us,
        )
        .join(reward_event, event.decision_id == c.decision_id)
        .where(
            c.judge == judge, c.version == version, event.source.in_(sorted(people)),
            event.kind.in_(("reward", "retraction")), event.status.in_(("recorded", "logged")),
        )
        .order_by(c.decision_id, event.identity, event.revision)
        .limit(MOST_EVENTS)
    )  # fmt: skip


def _verdict(row: Any, labels: dict[str, tuple[float | None, int]]) -> LabelledVerdict:
    standing = [(value, at_us) for value, at_us in labels.values() if value is not None]
    return LabelledVerdict(
        decision_id=row.decision_id,
        arm=row.arm,
        score=float(row.score),
        probability=float(row.probability),
        label=sum(value for value, _ in standing) / len(standing) if standing else None,
        labelled_at_us=min((at_us for _, at_us in standing), default=0),
    )
