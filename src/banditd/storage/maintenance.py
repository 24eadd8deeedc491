"""Keeping the database small and answering whether it is well. Every step is a short transaction.

Pruning removes the log, never what was learned or counted from it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from sqlalchemy import ColumnElement, Connection, Table, delete, distinct, exists, func, not_, select

from banditd.core.errors import StorageUnavailableError
from banditd.core.ids import end_id
from banditd.core.types import MICROSECONDS_PER_SECOND
from banditd.ports import PRUNED_CURSOR
from banditd.storage import dialect
from banditd.storage.accounts import forget_accounts
from banditd.storage.engine import Database
from banditd.storage.keys import forget_keys
from banditd.storage.merging import merge_buckets, move
from banditd.storage.migrate import current_revision
from banditd.storage.partitions.upkeep import SqlPartitions
from banditd.storage.queues import QUEUES
from banditd.storage.schema import (
    CLUSTER_SUMS,
    SUMS,
    abandonment,
    activation,
    arm_contribution,
    arm_fold_queue,
    arm_reward,
    arm_total,
    attempt,
    cluster_stat,
    comparison,
    comparison_task,
    contribution,
    decision,
    fold_queue,
    job_run,
    judge_task,
    judgement,
    probe,
    probe_answer,
    probe_judgement,
    reward_event,
    rollup,
    row_count,
    settling,
    shadow_decision,
    usage_report,
    usage_revision,
)
from banditd.storage.sessions import forget_sessions
from banditd.storage.settling import SETTLING_SUMS
from banditd.storage.sums import BUCKET_S, RowCounter
from banditd.storage.tag_upkeep import keep_tags_small

HOUR_S: Final = 3600
DAY_S: Final = 86_400
STEPS: Final = ((BUCKET_S, HOUR_S, 2 * DAY_S), (HOUR_S, DAY_S, 35 * DAY_S))
"""(from bucket size, to bucket size, age from which): two days in detail, five weeks by the hour."""
ACCOUNTS_KEPT_S: Final = 400 * DAY_S
"""Windows of budgets: a year and the month before it."""
WRITERS_KEPT: Final = 8
"""Writers come and go with replicas; from this many on, their totals are merged into one row."""
_CHUNK: Final = 500
_MERGED: Final = ""
_OF_A_DECISION: Final = (
    shadow_decision, comparison_task, comparison, judge_task, judgement, probe_answer, probe_judgement, probe,
    fold_queue, arm_fold_queue, contribution, arm_contribution, reward_event, arm_reward, usage_revision, attempt,
    usage_report, activation, abandonment, decision,
)  # fmt: skip
"""All that a decision leaves in the log, children first."""


class SqlMaintenance:
    """``ports.Maintenance`` over one database."""

    def __init__(self, database: Database, partitions: SqlPartitions, *, writer_name: str) -> None:
        self._database = database
        self._partitions = partitions
        self._rows = RowCounter(database.engine, writer_name)

    async def compact_rollups(self, now_us: int) -> int:
        merged = await merge_buckets(self._database, rollup, SUMS, STEPS, now_us, {"writer": _MERGED})
        by_writer = (arm_total, SUMS), (cluster_stat, CLUSTER_SUMS), (row_count, ("rows",)), (settling, SETTLING_SUMS)
        for table, sums in by_writer:
            merged += await self._database.write(
                lambda connection, t=table, s=sums: self._merge_writers(connection, t, s)  # type: ignore[misc]
            )
        merged += await keep_tags_small(self._database, now_us)
        edge_us = now_us - ACCOUNTS_KEPT_S * MICROSECONDS_PER_SECOND
        return merged + await self._database.write(lambda connection: forget_accounts(connection, edge_us))

    def _merge_writers(self, connection: Connection, table: Table, sums: Sequence[str]) -> int:
        writers = connection.execute(select(func.count(distinct(table.c.writer)))).scalar_one()
        if writers < WRITERS_KEPT:
            return 0
        unmerged = table.c.writer != _MERGED
        return move(connection, self._database.engine, table, sums, unmerged, {"writer": _MERGED})

    async def prune(self, *, before_us: int, limit: int) -> int:
        return await self._database.write(lambda connection: self._prune(connection, before_us, limit))

    def _prune(self, connection: Connection, before_us: int, limit: int) -> int:
        c = decision.c
        oldest = (
            select(c.decision_id)
            .where(c.decision_id < end_id(before_us), c.created_at_us < before_us)
            .where(*(not_(exists().where(q.c.decision_id == c.decision_id, *_new(q, c.policy))) for q in QUEUES))
            .order_by(c.decision_id)
            .limit(limit)
        )
        # Locked first and looked at after: a reward that is being stored either waits or is seen.
        ids = list(connection.execute(dialect.lock_exclusive(self._database.engine, oldest)).scalars())
        removed: dict[str, int] = defaultdict(int)
        for start in range(0, len(ids), _CHUNK):
            chunk = ids[start : start + _CHUNK]
            queued: set[str] = set()
            for queue in QUEUES:
                waiting = select(c.decision_id).join(queue, queue.c.decision_id == c.decision_id)
                queued |= set(
                    connection.execute(waiting.where(c.decision_id.in_(chunk), *_new(queue, c.policy))).scalars()
                )
            going = [decision_id for decision_id in chunk if decision_id not in queued]
            # Rows of the queue that wait for a learner of another feature schema may wait for ever: they go too.
            for table in _OF_A_DECISION:
                gone = connection.execute(delete(table).where(table.c.decision_id.in_(going))).rowcount
                removed[table.name] += gone
        for name in ("decision", "reward_event", "usage_report"):
            self._rows.add(connection, name, -removed[name])
        forget_keys(connection, before_us)  # none may name a decision that is gone
        if removed["decision"]:
            statement = dialect.replace_row(self._database.engine, job_run, ("cursor",))
            connection.execute(statement, {"job": PRUNED_CURSOR, "cursor": before_us})
        return removed["decision"]

    async def make_partitions(self, now_us: int) -> int:
        return await self._partitions.make_ahead(now_us)

    async def drop_partitions(self, *, before_us: int) -> int:
        return await self._partitions.drop(before_us=before_us)

    async def forget_keys(self, *, before_us: int, limit: int) -> int:
        return await self._database.write(lambda connection: forget_keys(connection, before_us, limit))

    async def forget_sessions(self, *, before_us: int, limit: int) -> int:
        return await self._database.write(lambda connection: forget_sessions(connection, before_us, limit))

    async def ping(self) -> None:
        self._database.check_file()
        failure = self._database.write_failure
        if failure is not None:
            raise StorageUnavailableError(f"The last write failed: {failure.message}", code=failure.code)
        await self._database.read(lambda connection: connection.execute(select(1)).scalar_one())

    def log_bytes(self) -> int | None:
        return self._database.log_bytes()

    async def schema_revision(self) -> str:
        return await self._database.read(current_revision)


def _new(queue: Table, policy: ColumnElement[str]) -> tuple[ColumnElement[bool], ...]:
    """Rows of a queue that no learner has set aside yet."""
    return queue.c.policy == policy, queue.c.schema_hash.is_(None)
