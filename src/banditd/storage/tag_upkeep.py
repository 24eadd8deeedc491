"""Keeping the counters by tag small: coarser buckets, no more than so old, places for values that come late.

Every step is a short transaction, and moves sums without losing or doubling any.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, delete, func, select

from banditd.core.types import MICROSECONDS_PER_SECOND
from banditd.ports.tags import REST
from banditd.storage import dialect
from banditd.storage.engine import Database
from banditd.storage.merging import merge_buckets, move
from banditd.storage.schema import CLUSTER_SUMS, SUMS, tag_cluster, tag_rollup, tag_total, tag_value
from banditd.storage.tag_counters import TAG_BUCKET_S
from banditd.storage.tag_places import TAGS, VALUES, lock_places

_DAY_S: Final = 86_400
LONGEST_BUCKET_S: Final = 28 * _DAY_S
STEPS: Final = ((TAG_BUCKET_S, _DAY_S, 2 * _DAY_S), (_DAY_S, LONGEST_BUCKET_S, 35 * _DAY_S))
"""(from bucket size, to bucket size, age from which): two days by the hour, five weeks by the day."""
KEPT_S: Final = 400 * _DAY_S
"""Buckets that ended longer ago are deleted; the totals stay."""
FREED: Final = 12
"""Places of a full tag that its lightest values give up."""
RECENT_S: Final = 7 * _DAY_S
"""How light a value is, is counted over the last week."""
IDLE_S: Final = 35 * _DAY_S
"""A tag that nobody has used for so long gives up its place where places are short, with all its counters."""

_TABLES: Final = ((tag_rollup, SUMS), (tag_total, SUMS), (tag_cluster, CLUSTER_SUMS))


async def keep_tags_small(database: Database, now_us: int) -> int:
    """One run of the job; returns how many rows were merged or deleted."""
    changed = await merge_buckets(database, tag_rollup, SUMS, STEPS, now_us, {})
    changed += await database.write(lambda connection: _forget_old(connection, now_us))
    for policy, tag in await database.read(_crowded):
        changed += await database.write(
            lambda connection, p=policy, t=tag: _free_places(connection, database, p, t, now_us)  # type: ignore[misc]
        )
    return changed


def _forget_old(connection: Connection, now_us: int) -> int:
    c = tag_rollup.c
    edge_us = now_us - (KEPT_S + LONGEST_BUCKET_S) * MICROSECONDS_PER_SECOND
    # A range of the index for every size.
    sizes = (TAG_BUCKET_S, *(to_s for _, to_s, _ in STEPS))
    return sum(
        connection.execute(delete(tag_rollup).where(c.bucket_s == size, c.bucket_at_us < edge_us)).rowcount
        for size in sizes
    )


def _crowded(connection: Connection) -> list[tuple[str, str]]:
    """(policy, tag) of tags without a free place; (policy, "") where no tag has one."""
    c = tag_value.c
    values = select(c.policy, c.tag).where(c.value != REST).group_by(c.policy, c.tag).having(func.count() >= VALUES)
    tags = select(c.policy).where(c.value == REST, c.tag != REST).group_by(c.policy).having(func.count() >= TAGS)
    found = [(policy, tag) for policy, tag in connection.execute(values)]
    return found + [(policy, REST) for policy in connection.execute(tags).scalars()]


def _free_places(connection: Connection, database: Database, policy: str, tag: str, now_us: int) -> int:
    lock_places(connection, database.engine, [policy])
    if not tag:
        return _drop_idle_tags(connection, policy, now_us)
    changed = 0
    light = _lightest(connection, policy, tag, now_us)
    c = tag_value.c
    going = (c.policy == policy) & (c.tag == tag) & c.value.in_(light)
    decisions = connection.execute(select(func.sum(c.decisions)).where(going)).scalar() or 0
    connection.execute(delete(tag_value).where(going))
    row = {"policy": policy, "tag": tag, "value": REST, "decisions": int(decisions), "last_at_us": 0}
    connection.execute(dialect.add_up(database.engine, tag_value, ("decisions",)), row)
    for table, sums in _TABLES:
        matching = (table.c.policy == policy) & (table.c.tag == tag) & table.c.value.in_(light)
        changed += move(connection, database.engine, table, sums, matching, {"value": REST})
    return changed


def _lightest(connection: Connection, policy: str, tag: str, now_us: int) -> list[str]:
    """The values that fewest decisions had of late, but for ``VALUES - FREED`` of them."""
    c, r = tag_value.c, tag_rollup.c
    since_us = now_us - RECENT_S * MICROSECONDS_PER_SECOND
    recent = (
        select(r.value, func.sum(r.decisions))
        .where(r.policy == policy, r.tag == tag, r.bucket_at_us >= since_us)
        .group_by(r.value)
    )
    recent_decisions = {value: int(decisions) for value, decisions in connection.execute(recent)}
    known = connection.execute(
        select(c.value, c.decisions).where(c.policy == policy, c.tag == tag, c.value != REST)
    ).all()
    ranked = sorted(
        known, key=lambda row: (recent_decisions.get(row.value, 0), row.decisions, row.value), reverse=True
    )
    return [row.value for row in ranked[VALUES - FREED :]]


def _drop_idle_tags(connection: Connection, policy: str, now_us: int) -> int:
    c = tag_value.c
    edge_us = now_us - IDLE_S * MICROSECONDS_PER_SECOND
    matching = (c.policy == policy) & (c.value == REST) & (c.tag != REST) & (c.last_at_us < edge_us)
    idle = list(connection.execute(select(c.tag).where(matching)).scalars())
    return sum(
        connection.execute(delete(table).where(table.c.policy == policy, table.c.tag.in_(idle))).rowcount
        for table in (tag_value, tag_rollup, tag_total, tag_cluster)
        if idle
    )
