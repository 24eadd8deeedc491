"""What may be done to a decision: by whom, and whether it was abandoned or may be. Settling it is ``usage.py``'s."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Table, exists, func, insert, select

from banditd.core.errors import BanditdError, ConflictError, ForbiddenError, NotFoundError
from banditd.storage import dialect
from banditd.storage.schema import abandonment, arm_reward, decision, reward_event


def is_abandoned() -> ColumnElement[bool]:
    """Of the row of ``decision`` that a query is at."""
    return exists().where(abandonment.c.decision_id == decision.c.decision_id)


def refusal_of(decision_id: str, *, key_name: str | None, abandoned: bool, owner: str | None) -> BanditdError | None:
    """Why nothing more may be done to a decision, None where it may.

    owner : the API key that asks, where it may touch its own decisions only. What nobody's key made is anybody's.
    """
    if owner is not None and key_name not in {None, owner}:
        return ForbiddenError(
            f"decision {decision_id} was made with another API key, and this one has the scope reward:own; "
            "the scope reward is for every decision",
            code="DECISION_OF_ANOTHER_KEY",
        )
    if abandoned:
        return ConflictError(
            f"decision {decision_id} was abandoned: it counts as never served; route again for a new decision",
            code="DECISION_ABANDONED",
        )
    return None


def abandon(connection: Connection, engine: Engine, decision_id: str, at_us: int, owner: str | None) -> Any:
    """Mark a decision, locked against rewards and activation: True, False where it is marked, or why it may not."""
    c = decision.c
    query = select(c.policy, c.key_name, is_abandoned().label("abandoned")).where(c.decision_id == decision_id)
    connection.execute(dialect.lock_exclusive(engine, select(c.decision_id).where(c.decision_id == decision_id)))
    found = connection.execute(query).one_or_none()
    if found is None:
        return NotFoundError(f"No decision {decision_id}.", code="DECISION_NOT_FOUND")
    refused = refusal_of(decision_id, key_name=found.key_name, abandoned=False, owner=owner)
    if refused is not None:
        return refused
    if found.abandoned:
        return False
    if _rewarded(connection, decision_id):
        return ConflictError(
            f"decision {decision_id} has a reward, of what it was served or of another arm; retract it first, if it "
            "is wrong",
            code="DECISION_REWARDED",
        )
    row = {"decision_id": decision_id, "policy": found.policy, "abandoned_at_us": at_us}
    connection.execute(insert(abandonment), row)
    return True


def _rewarded(connection: Connection, decision_id: str) -> bool:
    """Whether a reward stands, learned, held or logged: the newest revision of some identity is none taken back.

    One of another arm too, since nothing is learned of an abandoned decision.
    """
    return any(_stands(connection, table, decision_id) for table in (reward_event, arm_reward))


def _stands(connection: Connection, table: Table, decision_id: str) -> bool:
    c = table.c
    newest = (
        select(c.identity, func.max(c.revision).label("revision"))
        .where(c.decision_id == decision_id)
        .group_by(c.identity)
        .subquery()
    )
    stands = (
        select(c.reward_id)
        .join(newest, (newest.c.identity == c.identity) & (newest.c.revision == c.revision))
        .where(c.kind != "retraction")
    )
    return connection.execute(stands.limit(1)).first() is not None
