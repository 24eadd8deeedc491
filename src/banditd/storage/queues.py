"""The learner's queues: decisions whose own rewards changed, and those with changed rewards of other arms.

They are two tables so that an older replica, which knows the first one alone, leaves the second to this release.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from sqlalchemy import ColumnElement, Connection, Table, delete, false, func, or_, select, update

from banditd.ports import FoldCommit
from banditd.storage.schema import arm_fold_queue, fold_queue

QUEUES: Final = (fold_queue, arm_fold_queue)
_CHUNK: Final = 500


def claimed_ids(connection: Connection, policy: str, schema_hash: str | None, limit: int) -> list[str]:
    """The decisions of at most ``limit`` rows, each once, that a learner of that schema takes next."""
    queued: list[str] = []
    # Part by part: each is a range of the index, all at once would be sorted whole.
    for queue in QUEUES:
        for part in _queued_for(queue, policy, schema_hash):
            query = select(queue.c.decision_id).where(part)
            rows = connection.execute(query.order_by(queue.c.queue_id).limit(limit - len(queued)))
            queued.extend(rows.scalars())
    return list(dict.fromkeys(queued))


def depth(connection: Connection, schemas: Mapping[str, str] | None) -> int:
    """Rows; with ``schemas`` (policy: hash) those alone that a learner of these would claim."""
    rows = 0
    for queue in QUEUES:
        query = select(func.count()).select_from(queue)
        if schemas is not None:
            query = query.where(or_(false(), *(part for one in schemas.items() for part in _queued_for(queue, *one))))
        rows += connection.execute(query).scalar_one()
    return rows


def waiting(connection: Connection, schemas: Mapping[str, str]) -> frozenset[str]:
    """Those of the policies (to the hash of their schema) that have rows which any learner would take.

    Rows of other arms wait while an older replica leads: nothing is wrong with that.
    """
    return frozenset(
        policy
        for policy, schema_hash in schemas.items()
        if connection.execute(
            select(fold_queue.c.queue_id).where(or_(*_queued_for(fold_queue, policy, schema_hash))).limit(1)
        ).first()
    )


def take_off(connection: Connection, fold: FoldCommit) -> None:
    """Delete the rows that a fold has answered; set those aside that wait for a learner of another schema."""
    for queue in QUEUES:
        for chunk in _chunks(fold.queue_ids):
            connection.execute(delete(queue).where(queue.c.queue_id.in_(chunk)))
        for schema_hash, queue_ids in fold.set_aside.items():
            aside = update(queue).values(policy=fold.policy, schema_hash=schema_hash)
            for chunk in _chunks(queue_ids):
                connection.execute(aside.where(queue.c.queue_id.in_(chunk)))


def _queued_for(queue: Table, policy: str, schema_hash: str | None) -> list[ColumnElement[bool]]:
    """Rows of a queue that a learner of that schema takes: first those that were set aside for it, then new ones.

    An older replica sets rows aside under a policy that is called "policy schema_hash".
    """
    c = queue.c
    new = (c.policy == policy) & c.schema_hash.is_(None)
    if schema_hash is None:
        return [new]
    aside = (c.policy == policy) & (c.schema_hash == schema_hash)
    by_older = (c.policy == f"{policy} {schema_hash}") & c.schema_hash.is_(None)
    return [aside, by_older, new] if queue is fold_queue else [aside, new]


def _chunks(ids: Sequence[str]) -> list[Sequence[str]]:
    return [ids[start : start + _CHUNK] for start in range(0, len(ids), _CHUNK)]
