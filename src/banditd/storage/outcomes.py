"""The newest outcomes of a policy: what the models of amounts and the guards of budgets learn from. Bounded reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, func, select

from banditd.core.generations import learned_as, shown_as
from banditd.ports import GuardedOutcome, UsageOutcome
from banditd.storage.arms import present_generations
from banditd.storage.codec import readable_context, unpack_blend, unpack_mapping, unpack_names, unpack_vector
from banditd.storage.engine import Database
from banditd.storage.schema import contribution, decision, usage_report


class SqlRecentOutcomes:
    """``ports.RecentOutcomes`` over one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def usage(self, policy: str, schema_hash: str, limit: int) -> list[UsageOutcome]:
        d, u = decision.c, usage_report.c
        query = (
            select(
                u.arm,
                d.x,
                d.created_at_us,
                func.coalesce(u.input_tokens, d.input_tokens),
                u.output_tokens,
                u.cost_usd,
                u.latency_ms,
                d.generations,
            )
            .select_from(usage_report.join(decision, d.decision_id == u.decision_id))
            .where(u.policy == policy, u.estimated.is_(False), u.error.is_(None), d.schema_hash == schema_hash)
            .order_by(u.decision_id.desc())
            .limit(limit)
        )

        def work(connection: Connection) -> list[UsageOutcome]:
            rows = connection.execute(query).all()
            present = present_generations(connection, policy)
            return [
                UsageOutcome(arm, x, *row[2:-1])
                for row in reversed(rows)
                if (x := readable_context(row[1])) is not None
                and (arm := _shown(row[0], row[-1], present)) is not None
            ]

        return await self._database.read(work, report=True)

    async def guarded(self, policy: str, limit: int) -> list[GuardedOutcome]:
        d, c = decision.c, contribution.c
        query = (
            select(d.arms, d.arm, d.probability, d.mean, d.penalty, d.mixture, c.arm.label("served"), c.reward)
            .select_from(contribution.join(decision, d.decision_id == c.decision_id))
            .where(c.policy == policy)
            .order_by(c.decision_id.desc())
            .limit(limit)
        )

        def work(connection: Connection) -> list[GuardedOutcome]:
            rows = connection.execute(query).all()
            blended = [row for row in reversed(rows) if row.mixture is not None and row.served == row.arm]
            return [one for row in blended if (one := _guarded(row)) is not None]

        return await self._database.read(work, report=True)


def _shown(arm: str, generations: str, present: Mapping[str, int]) -> str | None:
    """The arm's name, or for an earlier generation one that no present arm has; None where the row is damaged."""
    if not present:
        return arm
    try:
        return shown_as(learned_as(arm, unpack_mapping(generations).get(arm, 1)), present)
    except (AttributeError, TypeError, ValueError):
        return None


def _guarded(row: Any) -> GuardedOutcome | None:
    """None where the row is damaged."""
    try:
        arms, blend = unpack_names(row.arms), unpack_blend(row.mixture)
        vectors = [unpack_vector(blob) for blob in (row.probability, row.mean, row.penalty)]
        if {len(arms), blend.fixed.size} != {len(vector) for vector in vectors}:
            return None
        return GuardedOutcome(arms.index(row.arm), row.reward, blend, *vectors)
    except (TypeError, ValueError):
        return None
