"""What evaluations read of the log: decisions that have taught something, newest first, in bounded reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from sqlalchemy import Connection, func, select

from banditd.core.ids import end_id, first_id
from banditd.core.rewards import Contribution
from banditd.core.types import FloatArray
from banditd.ports.evaluations import Coverage, LoggedDecision
from banditd.storage.among import among, in_chunks
from banditd.storage.arm_rewards import other_contributions
from banditd.storage.checksum import BLOBS, COLUMN, NUMBERS, TEXTS, is_damaged
from banditd.storage.codec import unpack_mapping, unpack_names, unpack_vector
from banditd.storage.schema import arm_reward, contribution, decision, reward_event, usage_report

DRAWN: Final = "policy"  # the reason of decisions that were drawn from their logged vector
_COLUMNS: Final = (
    *TEXTS, *NUMBERS, *BLOBS, COLUMN, "exclusions", "cost_weight", "input_tokens", "keep", "baseline", "promise",
    "generations", "mixture", "tags",
)  # fmt: skip


def taught(
    connection: Connection,
    policy: str,
    schema_hash: str,
    since_us: int | None,
    before_id: str | None,
    limit: int,
    after_id: str = "",
) -> tuple[list[LoggedDecision], str | None]:
    """What ``EvaluationLog.taught`` gives of the rows behind ``after_id`` that this connection reaches."""
    d, c = decision.c, contribution.c
    query = select(d.decision_id).where(d.policy == policy, d.decision_id > after_id)
    query = query.order_by(d.decision_id.desc()).limit(limit)
    if since_us is not None:
        query = query.where(d.created_at_us >= since_us, d.decision_id >= first_id(since_us))
    if before_id is not None:
        query = query.where(d.decision_id < before_id)
    ids = list(connection.scalars(query))
    rated = _rated_at(connection, ids)
    others = other_contributions(connection, list(rated))
    rows = connection.execute(
        select(
            *(d[name] for name in _COLUMNS),
            c.arm.label("put_arm"), c.epoch.label("put_epoch"), c.weight.label("put_weight"),
            c.reward.label("put_reward"),
        )
        .select_from(decision.outerjoin(contribution, c.decision_id == d.decision_id))
        .where(d.decision_id.in_(list(rated)), d.schema_hash == schema_hash)
        .order_by(d.decision_id.desc())
    ).mappings()  # fmt: skip
    found = [_logged(row, rated[row["decision_id"]], others.get(row["decision_id"], {})) for row in rows]
    return [one for one in found if one is not None], ids[-1] if len(ids) == limit else None


def logged(connection: Connection, decision_ids: Sequence[str]) -> list[LoggedDecision]:
    """What ``EvaluationLog.logged`` gives of the rows that this connection reaches."""
    d = decision.c
    query = select(*(d[name] for name in _COLUMNS)).where(among(d.decision_id)).order_by(d.decision_id)
    found = []
    for chunk in in_chunks(decision_ids):
        rows = connection.execute(query, chunk).mappings()
        found += [_logged({**row, "put_arm": None}, 0, {}) for row in rows]
    return [one for one in found if one is not None]


def coverage(connection: Connection, policy: str, since_us: int, until_us: int, after_id: str = "") -> Coverage:
    """What ``EvaluationLog.coverage`` gives of the rows behind ``after_id`` that this connection reaches."""
    d, c = decision.c, contribution.c
    which = [
        d.policy == policy,
        d.reason == DRAWN,
        d.created_at_us >= since_us,
        d.created_at_us < until_us,
        d.decision_id > after_id,
        d.decision_id >= first_id(since_us),
        d.decision_id < end_id(until_us),
    ]
    query = (
        select(d.arm, func.count(), func.count(c.decision_id))
        .select_from(decision.outerjoin(contribution, c.decision_id == d.decision_id))
        .where(*which)
        .group_by(d.arm)
    )
    rows = connection.execute(query).all()
    return Coverage(decisions={row[0]: row[1] for row in rows}, rated={row[0]: row[2] for row in rows})


def _rated_at(connection: Connection, ids: list[str]) -> dict[str, int]:
    """When the newest reward came of each decision that has one, its own or another arm's, or its serving arm."""
    found: dict[str, int] = {}
    for table in (reward_event, arm_reward, usage_report):
        c = table.c
        newest = (
            select(c.decision_id, func.max(c.received_at_us)).where(c.decision_id.in_(ids)).group_by(c.decision_id)
        )
        for decision_id, at_us in connection.execute(newest):
            if table is not usage_report or decision_id in found:
                found[decision_id] = max(found.get(decision_id, 0), at_us)
    return found


def _parts(cost_usd: FloatArray, penalty: FloatArray) -> tuple[float | None, FloatArray]:
    """(what a dollar took off the utility, what a call of each arm took off beside: that of a traffic cap).

    Money takes a part of the cost from all arms, and from some nothing else does. None where nothing cost anything.
    """
    costs = cost_usd > 0.0
    if not costs.any():
        return None, penalty
    per_usd = float((penalty[costs] / cost_usd[costs]).min())
    beside = penalty - per_usd * cost_usd
    return per_usd, np.where(beside > 1e-9, beside, 0.0)


def _logged(row: Mapping[Any, Any], rated_at_us: int, others: Mapping[str, Contribution]) -> LoggedDecision | None:
    """None where the row is damaged."""
    if is_damaged(row):
        return None
    try:
        arms = unpack_names(row["arms"])
        probability, mean, cost_usd, penalty = (
            np.array(unpack_vector(row[name])) for name in ("probability", "mean", "cost_usd", "penalty")
        )
        x = np.frombuffer(row["x"], dtype="<f4")
        promise = {} if row["promise"] is None else unpack_mapping(row["promise"])
        exclusions, facts, generations, tags = (
            unpack_mapping(row[name]) for name in ("exclusions", "facts", "generations", "tags")
        )
    except (TypeError, ValueError):
        return None
    if not np.isfinite(x).all():
        return None
    if {len(arms)} != {one.size for one in (probability, mean, cost_usd, penalty)} or row["arm"] not in arms:
        return None
    budgeted = row["mixture"] is not None or row["charges"] not in {None, "[]"}
    per_usd, call_price = _parts(cost_usd, penalty)
    price = per_usd if budgeted else None
    put = None
    if row["put_arm"] is not None:
        put = Contribution(row["put_arm"], row["put_epoch"], row["put_weight"], row["put_reward"])
    return LoggedDecision(
        decision_id=row["decision_id"], created_at_us=row["created_at_us"], arm=row["arm"], reason=row["reason"],
        arms=arms, probability=probability, mean=mean, price_per_usd=price, call_price=call_price, x=x,
        exclusions=exclusions,
        cluster=row["cluster"], facts=facts, cost_weight=row["cost_weight"], input_tokens=row["input_tokens"],
        keep=row["keep"], baseline=row["baseline"], promise=promise, tags=tags, epoch=row["epoch"],
        generations=generations, contribution=put, rated_at_us=rated_at_us, others=tuple(others.values()),
    )  # fmt: skip
