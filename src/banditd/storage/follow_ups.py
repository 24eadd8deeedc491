"""What has followed an answer: that it was asked for again, or that another took over."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Final

from sqlalchemy import Column, ColumnElement, Connection, Select, select

from banditd.core.ids import first_id, lowest_id
from banditd.core.release import FOLLOWED, FOLLOWED_AFTER_S, UnitOutcome
from banditd.core.rewards import source_identity
from banditd.core.types import MICROSECONDS_PER_SECOND, Decision
from banditd.deciding.release_course import Release
from banditd.ports.follow_ups import REGENERATION, FollowUp
from banditd.storage.among import among, rows_among
from banditd.storage.codec import readable_release
from banditd.storage.engine import Database
from banditd.storage.schema import decision, release_unit, reward_event, usage_report
from banditd.storage.schema.log import request_log

NEWEST_ANSWERS: Final = 2000
NEWEST_OF_SESSION: Final = 8
"""Clients ask for titles and the like between an answer and the next."""


class SqlFollowUps:
    """``ports.follow_ups.FollowUpReader`` over one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def answered_before(self, made: Decision) -> str | None:
        d, u = decision.c, usage_report.c
        query = (
            select(d.decision_id, d.input_hash, d.key_name, d.created_at_us, u.latency_ms, u.received_at_us)
            .select_from(decision.outerjoin(usage_report, u.decision_id == d.decision_id))
            .where(d.policy == made.policy, d.session_id == made.session_id, d.decision_id < made.decision_id)
            .add_columns((u.error.is_(None) & u.estimated.is_(False)).label("answered"))
            .order_by(d.decision_id.desc())
            .limit(NEWEST_OF_SESSION)
        )
        rows = await self._database.read(lambda connection: connection.execute(query).all())
        return next((row.decision_id for row in rows if _is_same(row, made)), None)

    async def follow_ups(self, policy: str, since_us: int, until_us: int) -> list[FollowUp]:
        ids = lowest_id(since_us), lowest_id(until_us)
        return await self._database.read(lambda connection: _follow_ups(connection, policy, ids))


def _is_same(row: Any, made: Decision) -> bool:
    """Whether it was the same text, for the same API key, with a whole answer before ``made`` was asked for."""
    if not row.answered or (row.input_hash, row.key_name) != (made.input_hash, made.key_name):
        return False
    took_us = None if row.latency_ms is None else round(row.latency_ms * 1e3)
    ended_us = row.received_at_us if took_us is None else row.created_at_us + took_us
    return bool(ended_us <= made.created_at_us)


def _follow_ups(connection: Connection, policy: str, ids: tuple[str, str]) -> list[FollowUp]:
    owners = _followed(connection, *ids)
    found: list[FollowUp] = []
    c, identity = request_log.c, reward_event.c.identity
    columns = (c.decision_id, c.served_arm, c.key_name, c.regenerated, c.escalated, c.error)
    names = {one: source_identity(one, *REGENERATION) for one in sorted(owners)}
    by_name = select(identity).where(among(identity))
    rewarded = {row.identity for row in rows_among(connection, by_name, list(names.values()))}
    followed = select(*columns).where(among(c.decision_id), c.policy == policy)
    for row in rows_among(connection, followed, list(names)):
        one = row.decision_id
        owned = _owned(row.key_name, owners[one])
        rewardable = row.regenerated and owned and row.error is None and names[one] not in rewarded
        found.append(FollowUp(one, row.served_arm, bool(row.regenerated), bool(row.escalated), bool(rewardable)))
    return found


def _followed(connection: Connection, lowest: str, below: str) -> dict[str, set[str | None]]:
    """Decisions with ids in ``[lowest, below)`` that something has followed, and the API keys that asked again.

    Each of the reads is of a small index: of the rows that name another decision.
    """
    d, u = decision.c, usage_report.c
    found = _repeated_by(connection, lambda before: (before >= lowest) & (before < below))
    for escalated in (
        select(d.escalated_from).where(d.escalated_from >= lowest, d.escalated_from < below),
        select(u.decision_id).where(u.decision_id >= lowest, u.decision_id < below, u.escalated_to.is_not(None)),
    ):
        for before in connection.execute(escalated).scalars():
            found.setdefault(before, set())
    return found


def _repeated_by(
    connection: Connection, which: Callable[[Column[Any]], ColumnElement[bool]]
) -> dict[str, set[str | None]]:
    """Decisions of these that were asked for again, and the API keys that did it (None: without one)."""
    d, u = decision.c, usage_report.c
    by_report = select(u.regenerated_from, d.key_name).join(decision, d.decision_id == u.decision_id)
    found: dict[str, set[str | None]] = {}
    for again in (
        select(d.regenerated_from, d.key_name).where(which(d.regenerated_from)),
        by_report.where(which(u.regenerated_from)),
    ):
        for before, key_name in connection.execute(again):
            found.setdefault(before, set()).add(key_name)
    return found


def _owned(key_name: str | None, by: Collection[str | None]) -> bool:
    """Whether a decision of this API key was asked for again by its own: others have no say. Without one, anybody."""
    return bool(by) if key_name is None else key_name in by


def followed(connection: Connection, release: Release, now_us: int) -> list[UnitOutcome]:
    """Of each unit that was not counted yet the first reported decision that is old enough, with what followed it.

    What has failed counts for the split alone: it is asked for again for its own reason.
    """
    guardrails = [one for one in release.terms.guardrails if one.outcome == FOLLOWED]
    if not guardrails:
        return []
    first: dict[str, tuple[Any, dict[str, Any]]] = {}
    for row in reversed(connection.execute(_reported(release, now_us)).all()):
        kept = readable_release(row.release)
        if kept is not None and kept.get("release") == release.release_id:
            first.setdefault(str(kept["unit"]), (row, kept))
    m = release_unit.c
    for unit in connection.execute(_counted(release, m.unit).where(m.unit.in_(sorted(first)))).scalars().all():
        del first[unit]
    seen = _seen(connection, [row.decision_id for row, _ in first.values() if row.error is None])
    return [
        UnitOutcome(
            release_id=release.release_id,
            decision_id=row.decision_id,
            measure=FOLLOWED,
            unit=unit,
            candidate=kept["side"] == "candidate",
            share=float(kept["share"]),
            differ=bool(kept["differ"]),
            values={
                one.name: 1.0 - seen[row.decision_id][one.measure] for one in guardrails if row.decision_id in seen
            },
        )
        for unit, (row, kept) in first.items()
    ]


def _reported(release: Release, now_us: int) -> Select[Any]:
    """The newest reported decisions of the release's time that are old enough, newest first."""
    d, u = decision.c, usage_report.c
    until_us = now_us - FOLLOWED_AFTER_S * MICROSECONDS_PER_SECOND
    return (
        select(d.decision_id, d.release, u.error)
        .join(usage_report, u.decision_id == d.decision_id)
        .where(
            d.policy == release.policy,
            d.decision_id >= first_id(release.created_at_us),
            d.decision_id < lowest_id(until_us),
            d.release.is_not(None),
            u.estimated.is_(False),
            d.decision_id.not_in(_counted(release, release_unit.c.decision_id)),
        )
        .order_by(d.decision_id.desc())
        .limit(NEWEST_ANSWERS)
    )


def _counted(release: Release, column: Column[Any]) -> Select[Any]:
    m = release_unit.c
    return select(column).where(m.release_id == release.release_id, m.measure == FOLLOWED)


def _seen(connection: Connection, decision_ids: list[str]) -> dict[str, dict[str, float]]:
    c = request_log.c
    by = _repeated_by(connection, lambda before: before.in_(decision_ids))
    query = select(c.decision_id, c.key_name, c.escalated).where(c.decision_id.in_(decision_ids))
    return {
        row.decision_id: {
            "regeneration": float(_owned(row.key_name, by.get(row.decision_id, ()))),
            "escalation": float(row.escalated),
        }
        for row in connection.execute(query)
    }
