"""Bounded reads of the log and of the snapshots for the dashboard. Nothing is written or counted here."""

from __future__ import annotations

import json
from functools import cache
from typing import Any, Final

import numpy as np
from sqlalchemy import ColumnElement, Connection, Select, Text, bindparam, case, cast, exists, func, select

from banditd.core.ids import lowest_id
from banditd.core.types import FloatArray
from banditd.ports.dashboard import AttemptGroup, MapRow, RecentCalls, ScaleRow
from banditd.storage.among import among, rows_among
from banditd.storage.codec import readable_context
from banditd.storage.engine import Database
from banditd.storage.schema import attempt, contribution, decision, snapshot, usage_report


class SqlDashboardReader:
    """``ports.dashboard.DashboardReader`` over one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def recent_contexts(self, policy: str, schema_hash: str, limit: int) -> list[MapRow]:
        return await self._database.read(
            lambda connection: _recent(connection, policy, schema_hash, limit), report=True
        )

    async def recent_calls(self, policy: str, since_us: int, limit: int) -> RecentCalls:
        return await self._database.read(lambda connection: _calls(connection, policy, since_us, limit), report=True)

    async def scale_history(self, policy: str, schema_hash: str, points: int) -> list[ScaleRow]:
        return await self._database.read(
            lambda connection: _scales(connection, policy, schema_hash, points), report=True
        )


def _recent(connection: Connection, policy: str, schema_hash: str, limit: int) -> list[MapRow]:
    """The last decisions in the order of the policy's index; those of another schema have another plane.

    What is damaged is left out: the integrity job names it.
    """
    c = decision.c
    query = (
        select(
            c.decision_id, c.created_at_us, c.arm, c.cluster, c.explored, c.degraded, c.x, c.schema_hash,
            contribution.c.reward,
        )
        .select_from(decision.outerjoin(contribution, contribution.c.decision_id == c.decision_id))
        .where(c.policy == policy)
        .order_by(c.decision_id.desc())
        .limit(limit)
    )  # fmt: skip
    return [
        MapRow(
            decision_id=row.decision_id,
            created_at_us=row.created_at_us,
            arm=row.arm,
            cluster=row.cluster,
            explored=row.explored,
            degraded=row.degraded,
            x=x,
            reward=row.reward,
        )
        for row in connection.execute(query)
        if row.schema_hash == schema_hash and (x := readable_context(row.x)) is not None
    ]


def _calls(connection: Connection, policy: str, since_us: int, limit: int) -> RecentCalls:
    """Grouped and listed by the database: ten thousand rows fetched one by one would hold up every other reader."""
    values = {"policy": policy, "first": lowest_id(since_us), "limit": limit}
    left_out = connection.scalar(_LEFT_OUT, values)
    if left_out is not None:
        values["first"] = left_out
    groups = connection.execute(_groups(left_out is not None), values).all()
    ended = connection.execute(_ended(left_out is not None), values).all()
    return RecentCalls(
        ended={error: calls for error, calls, _ in ended},
        fallbacks=sum(fallbacks for _, _, fallbacks in ended),
        truncated=left_out is not None,
        groups=[
            AttemptGroup(
                arm=arm,
                error=error,
                attempts=attempts,
                cost_usd=float(cost_usd),
                latency_ms=_numbers(latency_ms),
                first_token_ms=_numbers(first_token_ms),
            )
            for arm, error, attempts, cost_usd, latency_ms, first_token_ms in groups
        ],
    )


# Along the index of usage reports by policy; ids carry the time of their decisions.
_LEFT_OUT: Final = (
    select(usage_report.c.decision_id)
    .where(usage_report.c.policy == bindparam("policy"), usage_report.c.decision_id >= bindparam("first"))
    .order_by(usage_report.c.decision_id.desc())
    .offset(bindparam("limit"))
    .limit(1)
)


@cache
def _groups(after: bool) -> Select[Any]:
    """Attempts by arm and error. after : the first decision is left out itself."""
    a = attempt.c
    answered = a.error.is_(None)
    return (
        select(
            a.arm, a.error, func.count(), func.coalesce(func.sum(a.cost_usd), 0.0),
            _listed(a.latency_ms, answered), _listed(a.first_token_ms, answered),
        )
        .where(a.policy == bindparam("policy"), _newest(a.decision_id, after))
        .group_by(a.arm, a.error).order_by(a.arm, a.error)
    )  # fmt: skip


@cache
def _ended(after: bool) -> Select[Any]:
    """Settled decisions by the error of their last attempt, and how many of them another arm served.

    From the reports, which are few and of one policy: other policies may have made any number of attempts meanwhile.
    """
    a, u, later = attempt.c, usage_report.c, attempt.alias()
    followed = exists().where(later.c.decision_id == a.decision_id, later.c.ordinal > a.ordinal)
    return (
        select(a.error, func.count(), func.count(case((a.error.is_(None), u.served_arm))))
        .select_from(usage_report.join(attempt, a.decision_id == u.decision_id))
        .where(u.policy == bindparam("policy"), _newest(u.decision_id, after), ~followed)
        .group_by(a.error)
    )


def _newest(decision_id: ColumnElement[str], after: bool) -> ColumnElement[bool]:
    first = bindparam("first", type_=Text)
    return decision_id > first if after else decision_id >= first


def _listed(column: ColumnElement[float], where: ColumnElement[bool]) -> ColumnElement[str]:
    """The known values of a group as one text, with 15 digits or more; null where there is none."""
    return func.aggregate_strings(case((where, cast(column, Text))), ",")


def _numbers(listed: str | None) -> FloatArray:
    return np.array(listed.split(","), np.float64) if listed else np.zeros(0)


def _scales(connection: Connection, policy: str, schema_hash: str, points: int) -> list[ScaleRow]:
    s = snapshot.c
    matching = (s.policy == policy) & (s.schema_hash == schema_hash)
    kept = connection.execute(
        select(s.version, s.created_at_us).where(matching).order_by(s.created_at_us, s.version)
    ).all()
    wanted = _spread([(row.created_at_us, row.version) for row in kept], points)
    query = select(s.version, s.created_at_us, s.hyperparameters).where(matching, among(s.version))
    rows = {row.version: row for row in rows_among(connection, query, wanted)}
    return [_scale_row(rows[version]) for version in wanted if version in rows]


def _spread(kept: list[tuple[int, int]], points: int) -> list[int]:
    """At most ``points`` versions, as even in time as they come, with the first and the last."""
    if len(kept) <= points:
        return [version for _, version in kept]
    began, ended = kept[0][0], kept[-1][0]
    step = max(1, (ended - began) // max(1, points - 2))
    chosen, due = [], began
    for at_us, version in kept[:-1]:
        if at_us >= due:
            chosen.append(version)
            due = at_us + step
    return [*chosen, kept[-1][1]]


def _scale_row(row: Any) -> ScaleRow:
    values = json.loads(row.hyperparameters)
    return ScaleRow(
        version=row.version,
        created_at_us=row.created_at_us,
        shared={str(k): float(v) for k, v in values.get("shared", {}).items()},
        own={str(k): float(v) for k, v in values.get("own", {}).items()},
    )
