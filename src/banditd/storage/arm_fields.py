"""Fields of arms that change together with something else, in one transaction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sqlalchemy import Connection, Engine, select, update

from banditd.storage import dialect
from banditd.storage.schema import arm as arm_table
from banditd.storage.schema import policy as policy_table

CHANGED: Final = ("enabled", "min_share")


def change_fields(
    connection: Connection, engine: Engine, policy: str, arms: Mapping[str, Mapping[str, object]], at_us: int
) -> dict[str, dict[str, object]]:
    """Change ``CHANGED`` of arms, of those that are still there; what they were before, by arm."""
    before: dict[str, dict[str, object]] = {}
    if not arms:
        return before
    policy_row = select(policy_table.c.policy).where(policy_table.c.policy == policy)
    connection.execute(dialect.lock_exclusive(engine, policy_row))
    c = arm_table.c
    for name, fields in sorted(arms.items()):
        here = (c.policy == policy) & (c.arm == name) & c.deleted_at_us.is_(None)
        changes = {field: fields[field] for field in CHANGED if field in fields}
        row = connection.execute(select(*(c[field] for field in CHANGED)).where(here)).mappings().one_or_none()
        if row is None or not changes:
            continue
        before[name] = {field: row[field] for field in changes}
        connection.execute(update(arm_table).where(here).values(updated_at_us=at_us, **changes))
    if before:
        v = policy_table.c
        connection.execute(update(policy_table).where(v.policy == policy).values(arms_version=v.arms_version + 1))
    return before
