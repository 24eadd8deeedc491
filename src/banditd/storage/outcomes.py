"""The newest outcomes of a policy: what the models of amounts and the guards of budgets learn from. Bounded reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import Connection, FromClause, Row, Select, case, func, or_, select, union_all

from banditd.core.generations import learned_as, shown_as
from banditd.ports import GuardedOutcome, PromisedOutcome, RatedOutcome, UsageOutcome
from banditd.storage.arms import present_generations
from banditd.storage.codec import readable_context, unpack_blend, unpack_mapping, unpack_names, unpack_vector
from banditd.storage.engine import Database
from banditd.storage.promised_rows import promised_of, rated_of
from banditd.storage.schema import arm as arm_table
from banditd.storage.schema import attempt, contribution, decision, usage_report

_DECISIONS_PER_REPORT: Final = 10  # of an arm that are looked at for each older report wanted: not all are reported
_ARMS_AT_ONCE: Final = 100  # in one statement
DRAWN: Final = "policy"  # the reason of decisions that were drawn from their logged vector
_PROMISED: Final = or_(decision.c.keep.is_not(None), decision.c.release.is_not(None))


class SqlRecentOutcomes:
    """``ports.RecentOutcomes`` over one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def usage(self, policy: str, schema_hash: str, limit: int, of_each_arm: int) -> list[UsageOutcome]:
        def work(connection: Connection) -> list[UsageOutcome]:
            rows = list(connection.execute(_newest(policy, schema_hash, limit)).all())
            if len(rows) == limit:
                rows += _older(connection, policy, schema_hash, rows[-1].decision_id, of_each_arm)
            present = present_generations(connection, policy)
            calls = _calls_of_recipes(connection, policy, rows)
            return [
                UsageOutcome(arm, x, *took)
                for row in reversed(rows)
                if (x := readable_context(row.x)) is not None
                for name, took in ((row.arm, row[4:]), *calls.get(row.decision_id, ()))
                if (arm := _shown(name, row.generations, present)) is not None
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

    async def rated(self, policy: str, limit: int, *, before_id: str | None = None) -> list[RatedOutcome]:
        d, c = decision.c, contribution.c
        which = [c.policy == policy, *([] if before_id is None else [c.decision_id < before_id])]
        # The newest first, then those under a promise: where nothing is promised that is no search of the log.
        newest = (
            select(c.decision_id, c.arm, c.reward)
            .where(*which)
            .order_by(c.decision_id.desc())
            .limit(limit)
            .subquery()
        )
        query = (
            select(
                d.decision_id, d.keep, d.baseline, d.arms, d.arm, d.mean, d.probability, d.release, d.generations,
                newest.c.reward,
            )
            .select_from(newest.join(decision, d.decision_id == newest.c.decision_id))
            .where(_PROMISED, d.reason == DRAWN, newest.c.arm == d.arm)
            .order_by(d.decision_id)
        )  # fmt: skip

        def work(connection: Connection) -> list[RatedOutcome]:
            present = present_generations(connection, policy)
            return [one for row in connection.execute(query) if (one := _rated(row, present)) is not None]

        return await self._database.read(work, report=True)

    async def promised(
        self, policy: str, schema_hash: str, limit: int, *, release_id: str | None = None
    ) -> list[PromisedOutcome]:
        d = decision.c
        ids = select(d.decision_id).where(d.policy == policy).order_by(d.decision_id.desc()).limit(limit).subquery()
        query = (
            select(
                d.keep,
                d.baseline,
                d.x,
                d.arms,
                d.cost_usd,
                d.probability,
                d.own_probability,
                d.release,
                d.generations,
            )
            .select_from(decision.join(ids, d.decision_id == ids.c.decision_id))
            .where(_PROMISED, d.schema_hash == schema_hash)
            .order_by(d.decision_id)
        )

        def work(connection: Connection) -> list[PromisedOutcome]:
            present = present_generations(connection, policy)
            rows = connection.execute(query)
            return [one for row in rows if (one := _promised(row, release_id, present)) is not None]

        return await self._database.read(work, report=True)

    async def promised_since(self, policy: str, decision_id: str, limit: int) -> int:
        d = decision.c
        since = (
            select(d.decision_id)
            .where(d.policy == policy, d.decision_id >= decision_id, _PROMISED, d.reason == DRAWN)
            .limit(limit)
            .subquery()
        )
        return await self._database.read(
            lambda connection: connection.scalar(select(func.count()).select_from(since)) or 0, report=True
        )


def _newest(policy: str, schema_hash: str, limit: int) -> Select[Any]:
    usage = usage_report.c
    reports = usage_report.join(decision, decision.c.decision_id == usage.decision_id)
    return (
        _outcomes(reports, schema_hash).where(usage.policy == policy).order_by(usage.decision_id.desc()).limit(limit)
    )


def _calls_of_recipes(
    connection: Connection, policy: str, rows: Sequence[Row[Any]]
) -> dict[str, list[tuple[str, tuple[Any, ...]]]]:
    """By decision: (model, what its call took) of those that answered in a recipe's run."""
    recipes = select(arm_table.c.arm).where(arm_table.c.policy == policy, arm_table.c.recipe.is_not(None))
    names = set(connection.scalars(recipes))
    decided = {row.decision_id: row for row in rows if row.arm in names}
    found: dict[str, list[tuple[str, tuple[Any, ...]]]] = {}
    if decided:
        a = attempt.c
        query = select(
            a.decision_id, a.arm, a.input_tokens, a.output_tokens, a.cost_usd, a.latency_ms, a.cached_input_tokens
        ).where(a.decision_id.in_(sorted(decided)), a.recipe.is_not(None), a.error.is_(None))
        for one in connection.execute(query.order_by(a.decision_id, a.ordinal)):
            made = decided[one.decision_id]
            taken = made.input_tokens if one.input_tokens is None else one.input_tokens
            cached = None if one.input_tokens is None else one.cached_input_tokens or 0
            took = (made.created_at_us, taken, one.output_tokens, one.cost_usd, one.latency_ms, cached)
            found.setdefault(one.decision_id, []).append((one.arm, took))
    return found


def _older(connection: Connection, policy: str, schema_hash: str, before_id: str, of_each_arm: int) -> list[Row[Any]]:
    """Of every present arm the newest reports on decisions before that one, newest first.

    An arm's decisions have an index, its reports have none: what it reported is looked for among its newest
    decisions, a bounded number of them.
    """
    arms = connection.scalars(
        select(arm_table.c.arm).where(arm_table.c.policy == policy, arm_table.c.deleted_at_us.is_(None))
    ).all()
    found: list[Row[Any]] = []
    for start in range(0, len(arms), _ARMS_AT_ONCE):
        some = arms[start : start + _ARMS_AT_ONCE]
        parts = [_older_of(policy, arm, schema_hash, before_id, of_each_arm) for arm in some]
        found += connection.execute(union_all(*parts)).all()
    return sorted(found, key=lambda row: row.decision_id, reverse=True)


def _older_of(policy: str, arm: str, schema_hash: str, before_id: str, limit: int) -> Select[Any]:
    drawn = (
        select(decision.c.decision_id)
        .where(decision.c.policy == policy, decision.c.arm == arm, decision.c.decision_id < before_id)
        .order_by(decision.c.decision_id.desc())
        .limit(_DECISIONS_PER_REPORT * limit)
        .subquery()
    )
    reports = drawn.join(usage_report, usage_report.c.decision_id == drawn.c.decision_id).join(
        decision, decision.c.decision_id == drawn.c.decision_id
    )
    newest = (
        _outcomes(reports, schema_hash)
        .where(usage_report.c.arm == arm)
        .order_by(drawn.c.decision_id.desc())
        .limit(limit)
    )
    return select(newest.subquery())


def _outcomes(reports: FromClause, schema_hash: str) -> Select[Any]:
    d, u = decision.c, usage_report.c
    return (
        select(
            d.decision_id,
            u.arm,
            d.x,
            d.generations,
            d.created_at_us,
            func.coalesce(u.input_tokens, d.input_tokens).label("input_tokens"),
            u.output_tokens,
            u.cost_usd,
            u.latency_ms,
            case((u.input_tokens.is_not(None), func.coalesce(u.cached_input_tokens, 0))).label("cached_input_tokens"),
        )
        .select_from(reports)
        .where(u.estimated.is_(False), u.error.is_(None), d.schema_hash == schema_hash)
    )


def _shown(arm: str, generations: str, present: Mapping[str, int]) -> str | None:
    """The arm's name, or for an earlier generation one that no present arm has; None where the row is damaged."""
    if not present:
        return arm
    try:
        return shown_as(learned_as(arm, unpack_mapping(generations).get(arm, 1)), present)
    except (AttributeError, TypeError, ValueError):
        return None


def _rated(row: Any, present: Mapping[str, int]) -> RatedOutcome | None:
    """Of the baseline as it is shown; None where the row is damaged."""
    one = rated_of(row)
    baseline = None if one is None else _shown(one.baseline, row.generations, present)
    return None if one is None or baseline is None else replace(one, baseline=baseline)


def _promised(row: Any, release_id: str | None, present: Mapping[str, int]) -> PromisedOutcome | None:
    """Of arms as they are shown; None where the row is damaged."""
    one = promised_of(row, release_id)
    if one is None or not present:
        return one
    arms = tuple(name for arm in one.arms if (name := _shown(arm, row.generations, present)) is not None)
    if len(arms) != len(one.arms):
        return None
    return replace(one, baseline=arms[one.arms.index(one.baseline)], arms=arms)


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
