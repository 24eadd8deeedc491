"""Decisions with everything that a fold needs: context, active rewards, former contribution.

A decision's active events are, per identity, the newest revision that may be learned, unless that revision
takes the reward back. Those that name no arm, or the one that served, are its own; the others are of their arms. Who
serves is asked here, so a report that comes after the rewards moves them.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
from sqlalchemy import Connection, Row, Table, exists, func, or_, select

from banditd.core.ids import lowest_id
from banditd.core.rewards import Contribution
from banditd.core.types import FloatArray
from banditd.ports import FoldItem
from banditd.ports.tags import REST
from banditd.storage.active_rewards import Active, active_rewards
from banditd.storage.among import among, in_chunks, rows_among
from banditd.storage.arm_rewards import other_contributions
from banditd.storage.checksum import BLOBS, COLUMN, NUMBERS, TEXTS, is_damaged
from banditd.storage.codec import (
    readable_release,
    readable_tags,
    unpack_context,
    unpack_mapping,
    unpack_names,
    unpack_vector,
)
from banditd.storage.schema import (
    arm_contribution,
    arm_fold_queue,
    arm_reward,
    contribution,
    decision,
    fold_queue,
    reward_event,
    usage_report,
)
from banditd.storage.tag_places import read_places

_PIVOTS: Final = 16
DAMAGED: Final = "damaged"  # in place of a schema: nobody learns from such a row, and its rewards are set aside
# Reasons of decisions for which nothing was drawn: they say nothing about what another arm would have earned.
NOT_DRAWN: Final = frozenset({"session", "pinned"})
_MILLISECOND_HEX: Final = 12


def fold_items(connection: Connection, decision_ids: Sequence[str]) -> list[FoldItem]:
    """Fold items of these decisions, in their order, with all their rows of the learner's queue."""
    found: dict[str, FoldItem] = {}
    for chunk in in_chunks(decision_ids):
        ids = chunk["among"]
        # The queue is read before the events: an event that this look misses has its row still to come.
        queued = _queued(connection, ids)
        active = active_rewards(connection, ids)
        others = other_contributions(connection, ids)
        for row in connection.execute(_ITEMS, chunk):
            decision_id = row.decision_id
            item = _item(row, active.get(decision_id) or Active(), tuple(queued.get(decision_id, ())))
            put = others.get(decision_id)
            found[decision_id] = item if put is None else replace(item, other_contributions=put)
    return [found[decision_id] for decision_id in decision_ids if decision_id in found]


def with_places(connection: Connection, policy: str, items: Sequence[FoldItem]) -> list[FoldItem]:
    """The same with only tags that are counted, by places: of those there are few, however many values there were."""
    places = read_places(connection, policy)
    return [
        replace(
            item,
            tags=tuple((t, value if value in places[t] else REST) for t, value in item.tags if t in places),
        )
        for item in items
    ]


def rewarded_ids(connection: Connection, policy: str, after: str, limit: int) -> list[str]:
    """Ids of decisions with rewards that may be learned, oldest first, greater than ``after``."""
    rewarded = [
        exists().where(table.c.decision_id == decision.c.decision_id, table.c.status == "recorded")
        for table in (reward_event, arm_reward)
    ]
    query = (
        select(decision.c.decision_id)
        .where(decision.c.policy == policy, decision.c.decision_id > after, or_(*rewarded))
        .order_by(decision.c.decision_id)
        .limit(limit)
    )
    return list(connection.execute(query).scalars())


def sampled_ids(connection: Connection, policy: str, limit: int, generator: random.Random) -> list[str]:
    """Runs of folded decisions that start at random times: the cost does not grow with the log."""
    own = _sampled(connection, contribution, policy, limit, generator)
    others = _sampled(connection, arm_contribution, policy, limit, generator)
    return sorted({*own, *others})


def _sampled(connection: Connection, table: Table, policy: str, limit: int, generator: random.Random) -> list[str]:
    folded = select(table.c.decision_id).where(table.c.policy == policy).distinct().order_by(table.c.decision_id)
    few = list(connection.execute(folded.limit(limit + 1)).scalars())
    if len(few) <= limit:
        return few
    last = connection.execute(select(func.max(table.c.decision_id)).where(table.c.policy == policy)).scalar_one()
    earliest, latest = _millisecond(few[0]), _millisecond(last)
    run_length = -(-limit // _PIVOTS)
    chosen: set[str] = set()
    for _ in range(_PIVOTS):
        pivot = lowest_id(generator.randint(earliest, latest) * 1000)
        run = folded.where(table.c.decision_id >= pivot).limit(run_length)
        chosen.update(connection.execute(run).scalars())
    return sorted(chosen)[:limit]


def _millisecond(decision_id: str) -> int:
    return int(decision_id.replace("-", "")[:_MILLISECOND_HEX], 16)


def _items() -> Any:
    d = decision.c
    query = select(
        *(d[name] for name in (*TEXTS, *NUMBERS, *BLOBS, COLUMN)),
        usage_report.c.served_arm,
        d.generations,
        d.tags,
        d.release,
        contribution.c.arm.label("put_arm"),
        contribution.c.epoch.label("put_epoch"),
        contribution.c.weight.label("put_weight"),
        contribution.c.reward.label("put_reward"),
        contribution.c.estimated_by_design.label("put_estimated"),
    ).select_from(
        decision.outerjoin(usage_report, usage_report.c.decision_id == d.decision_id).outerjoin(
            contribution, contribution.c.decision_id == d.decision_id
        )
    )
    return query.where(among(d.decision_id))


_ITEMS: Final = _items()
_QUEUED: Final = tuple(
    select(queue.c.decision_id, queue.c.queue_id).where(among(queue.c.decision_id))
    for queue in (fold_queue, arm_fold_queue)
)


def _queued(connection: Connection, decision_ids: Sequence[str]) -> dict[str, list[str]]:
    rows: dict[str, list[str]] = defaultdict(list)
    for query in _QUEUED:
        for decision_id, queue_id in rows_among(connection, query, decision_ids):
            rows[decision_id].append(queue_id)
    return rows


def check_rows(connection: Connection, policy: str, after: str, limit: int) -> tuple[list[str], str | None]:
    """(ids of damaged rows among the next ``limit`` decisions behind ``after``, where to go on or None)."""
    d = decision.c
    query = (
        select(*(d[name] for name in (*TEXTS, *NUMBERS, *BLOBS, COLUMN)))
        .where(d.policy == policy, d.decision_id > after)
        .order_by(d.decision_id)
        .limit(limit)
    )
    rows = connection.execute(query).mappings().all()
    damaged = [str(row["decision_id"]) for row in rows if is_damaged(row)]
    return damaged, None if len(rows) < limit else str(rows[-1]["decision_id"])


def _item(row: Row[Any], active: Active, queue_ids: tuple[str, ...]) -> FoldItem:
    damage, x, predicted, generations = _whole(row)
    events, others = active.by_arm(row.arm if row.served_arm is None else row.served_arm)
    put = None
    if row.put_arm is not None:
        put = Contribution(row.put_arm, row.put_epoch, row.put_weight, row.put_reward)
    return FoldItem(
        decision_id=row.decision_id,
        policy=row.policy,
        chosen_arm=row.arm,
        served_arm=row.served_arm,
        epoch=row.epoch,
        schema_hash=row.schema_hash if damage is None else DAMAGED,
        x=x,
        cluster=row.cluster,
        created_at_us=row.created_at_us,
        propensity=row.propensity,
        events=events,
        contribution=put,
        queue_ids=queue_ids,
        predicted=predicted,
        estimated=bool(row.put_estimated),
        retracted=active.retracted,
        damage=damage,
        generations=generations,
        tags=readable_tags(row.tags),
        others=others,
        release=readable_release(row.release),
        of_task=active.of_task(),
    )


def _whole(row: Row[Any]) -> tuple[str | None, FloatArray, tuple[tuple[str, float, float], ...], dict[str, int]]:
    """(why the row cannot be learned from, or None; context; what was predicted of its arms; their generations)."""
    if is_damaged(row._mapping):  # noqa: SLF001 - SQLAlchemy's public name for the row by column
        return "its checksum does not hold", np.zeros(0), (), {}
    try:
        return None, unpack_context(row.x), _predicted(row), unpack_mapping(row.generations)
    except (TypeError, ValueError) as error:  # a row of an older release, without a checksum
        return f"its vectors cannot be read: {error}", np.zeros(0), (), {}


def _predicted(row: Row[Any]) -> tuple[tuple[str, float, float], ...]:
    if row.reason in NOT_DRAWN:
        return ()
    return tuple(zip(unpack_names(row.arms), unpack_vector(row.mean), unpack_vector(row.probability), strict=True))
