"""The learner's queues: decisions whose own rewards changed, and those with changed rewards of other arms.

They are two tables so that an older replica, which knows the first one alone, leaves the second to this release.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from sqlalchemy import ColumnElement, Connection, Integer, String, Table, bindparam, delete, func, or_, select, update

from banditd.ports import FoldCommit
from banditd.storage.among import among, in_chunks
from banditd.storage.schema import arm_fold_queue, fold_queue

QUEUES: Final = (fold_queue, arm_fold_queue)


def _queued_for(queue: Table) -> list[ColumnElement[bool]]:
    """Rows of a queue that a learner of a schema takes: first those that were set aside for it, then new ones.

    Its parameters : ``of_learner``. An older replica sets rows aside under a policy that is called
    "policy schema_hash".
    """
    c, policy = queue.c, bindparam("of_policy", type_=String)
    aside = (c.policy == policy) & (c.schema_hash == bindparam("of_schema", type_=String))
    by_older = (c.policy == bindparam("of_older", type_=String)) & c.schema_hash.is_(None)
    new = (c.policy == policy) & c.schema_hash.is_(None)
    return [aside, by_older, new] if queue is fold_queue else [aside, new]


def _of_learner(policy: str, schema_hash: str | None) -> dict[str, str | None]:
    return {"of_policy": policy, "of_schema": schema_hash, "of_older": f"{policy} {schema_hash}"}


# Composed once: the learner asks many times a second.
_CLAIMED: Final = tuple(
    select(queue.c.decision_id).where(part).order_by(queue.c.queue_id).limit(bindparam("at_most", type_=Integer))
    for queue in QUEUES
    for part in _queued_for(queue)
)
_WAITING: Final = select(fold_queue.c.queue_id).where(or_(*_queued_for(fold_queue))).limit(1)
_QUEUED: Final = tuple(select(queue.c.queue_id).where(or_(*_queued_for(queue))).limit(1) for queue in QUEUES)
_ROWS: Final = tuple(select(func.count()).select_from(queue) for queue in QUEUES)
_ROWS_FOR: Final = tuple(rows.where(or_(*_queued_for(queue))) for rows, queue in zip(_ROWS, QUEUES, strict=True))

_SET_ASIDE: Final = {queue.name: update(queue).where(among(queue.c.queue_id)) for queue in QUEUES}
_TAKE_OFF: Final = {queue.name: delete(queue).where(among(queue.c.queue_id)) for queue in QUEUES}


def claimed_ids(connection: Connection, policy: str, schema_hash: str | None, limit: int) -> list[str]:
    """The decisions of at most ``limit`` rows, each once, that a learner of that schema takes next.

    Without a schema those that no learner has set aside.
    """
    queued: list[str] = []
    # Part by part: each is a range of the index, all at once would be sorted whole.
    for query in _CLAIMED:
        rows = connection.execute(query, _of_learner(policy, schema_hash) | {"at_most": limit - len(queued)})
        queued.extend(rows.scalars())
    return list(dict.fromkeys(queued))


def depth(connection: Connection, schemas: Mapping[str, str] | None) -> int:
    """Rows; with ``schemas`` (policy: hash) those alone that a learner of these would claim."""
    if schemas is None:
        return sum(connection.execute(query).scalar_one() for query in _ROWS)
    return sum(
        connection.execute(query, _of_learner(*one)).scalar_one() for query in _ROWS_FOR for one in schemas.items()
    )


def waiting(connection: Connection, schemas: Mapping[str, str]) -> frozenset[str]:
    """Those of the policies (to the hash of their schema) that have rows which any learner would take.

    Rows of other arms wait while an older replica leads: nothing is wrong with that.
    """
    return frozenset(one[0] for one in schemas.items() if connection.execute(_WAITING, _of_learner(*one)).first())


def queued(connection: Connection, learners: Collection[tuple[str, str]]) -> frozenset[str]:
    """The policies, of (policy, schema_hash) pairs, that have rows in either queue for such a learner."""
    return frozenset(
        one[0] for query in _QUEUED for one in learners if connection.execute(query, _of_learner(*one)).first()
    )


def take_off(connection: Connection, fold: FoldCommit) -> None:
    """Delete the rows that a fold has answered; set those aside that wait for a learner of another schema."""
    for queue in QUEUES:
        for chunk in in_chunks(fold.queue_ids):
            connection.execute(_TAKE_OFF[queue.name], chunk)
        for schema_hash, queue_ids in fold.set_aside.items():
            waits_for = {"policy": fold.policy, "schema_hash": schema_hash}
            for chunk in in_chunks(queue_ids):
                connection.execute(_SET_ASIDE[queue.name], waits_for | chunk)
