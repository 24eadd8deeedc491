"""Anchors in SQL: taken whole in one transaction, never touched by what is learned later, counted exactly once.

The mark of a unit is in the transaction of its test, as for releases; marks older than a week are deleted.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from sqlalchemy import Connection, Engine, delete, func, insert, select, update

from banditd.core.anchor import Anchor, AnchorEvent, AnchorOutcome, AnchorState, DriftRule, Frozen, Taking
from banditd.core.errors import BanditdError, ConflictError
from banditd.core.ids import lowest_id, new_id
from banditd.core.release import REWARD
from banditd.core.types import DAY_US
from banditd.ope.drops import AnchorTest
from banditd.storage import dialect
from banditd.storage.engine import Database
from banditd.storage.schema import (
    anchor_event,
    anchor_segment,
    learner_state,
    policy_anchor,
    release_unit,
    segment,
)

logger = logging.getLogger(__name__)
MARKS_KEPT_US: Final = 7 * DAY_US
_CHUNK: Final = 200
_HEAD: Final = (
    "policy", "anchor_id", "schema_hash", "version", "taken_at_us", "promotion", "reason", "key_name", "test",
    "alarm_day",
)  # fmt: skip
_COLUMNS: Final = tuple(policy_anchor.c[name] for name in _HEAD)


class SqlAnchorStore:
    """``ports.anchors.AnchorStore`` over one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._engine = database.engine
        columns = tuple(column.name for column in policy_anchor.c if column.name != "policy")
        self._replace = dialect.replace_row(database.engine, policy_anchor, columns)

    async def anchors(self) -> Mapping[str, Anchor]:
        query = select(*_COLUMNS)
        return await self._database.read(
            lambda connection: {row["policy"]: Anchor(**row) for row in connection.execute(query).mappings()}
        )

    async def load(self, anchor_id: str) -> AnchorState | None:
        a, s = policy_anchor.c, anchor_segment.c
        found = select(policy_anchor).where(a.anchor_id == anchor_id)
        sums = select(s.arm, s.epoch, s.sums).where(s.anchor_id == anchor_id).order_by(s.arm, s.epoch)

        def work(connection: Connection) -> AnchorState | None:
            row = connection.execute(found).mappings().one_or_none()
            segments = tuple((one.arm, one.epoch, one.sums) for one in connection.execute(sums))
            if row is None or len(segments) != row["segments"]:
                return None  # it has been renewed between the two
            return AnchorState(
                anchor=Anchor(**{name: row[name] for name in _HEAD}),
                frozen=Frozen(**json.loads(row["frozen"])),
                hyperparameters=row["hyperparameters"],
                learner=row["learner"],
                segments=segments,
            )

        return await self._database.read(work)

    async def take(self, policy: str, schema_hash: str, taking: Taking, *, instead_of: str | None) -> Anchor:
        return await self._database.write(
            lambda connection: self._take(connection, policy, schema_hash, taking, instead_of)
        )

    def _take(
        self, connection: Connection, policy: str, schema_hash: str, taking: Taking, instead_of: str | None
    ) -> Anchor | BanditdError:
        s, g, a = learner_state.c, segment.c, policy_anchor.c
        # Locked: a fold changes it before its segments, so that none is half seen.
        state = connection.execute(
            dialect.lock_exclusive(
                self._engine, select(learner_state).where(s.policy == policy, s.schema_hash == schema_hash)
            )
        ).one_or_none()
        before = connection.execute(select(a.anchor_id).where(a.policy == policy)).scalar()
        if before != instead_of:
            return ConflictError(f"the anchor of policy {policy} was renewed just now", code="ANCHOR_RENEWED")
        if state is None:
            return ConflictError(
                f"policy {policy} has learned nothing yet, so there is nothing to hold on to; renew the anchor when "
                "it has rewards",
                code="NOTHING_LEARNED",
            )
        anchor = Anchor(
            policy=policy,
            anchor_id=new_id(taking.at_us),
            schema_hash=schema_hash,
            version=state.version,
            taken_at_us=taking.at_us,
            promotion=taking.promotion,
            reason=taking.reason,
            key_name=taking.key_name,
            test=_packed(AnchorTest().as_json()),
        )
        where = g.policy == policy, g.schema_hash == schema_hash
        rows = connection.execute(select(g.arm, g.epoch, g.sums).where(*where)).mappings().all()
        if before is not None:
            connection.execute(delete(anchor_segment).where(anchor_segment.c.anchor_id == before))
            connection.execute(delete(release_unit).where(release_unit.c.release_id == before))
        if rows:
            connection.execute(insert(anchor_segment), [{"anchor_id": anchor.anchor_id, **row} for row in rows])
        kept = {name: getattr(anchor, name) for name in _HEAD}
        more = {"hyperparameters": state.hyperparameters, "learner": state.learner, "segments": len(rows)}
        connection.execute(self._replace, kept | more | {"frozen": _packed(asdict(taking.frozen))})
        event = AnchorEvent(
            event="taken" if before is None else "renewed",
            anchor_id=anchor.anchor_id,
            at_us=taking.at_us,
            reason=taking.reason,
            key_name=taking.key_name,
        )
        _append(connection, policy, event)
        return anchor

    async def events(self, policy: str, limit: int) -> Sequence[AnchorEvent]:
        c = anchor_event.c
        columns = c.event, c.anchor_id, c.at_us, c.reason, c.key_name
        query = select(*columns).where(c.policy == policy).order_by(c.number.desc()).limit(limit)
        rows = await self._database.read(lambda connection: connection.execute(query).mappings().all())
        return [AnchorEvent(**row) for row in rows]


def count_anchored(
    connection: Connection,
    engine: Engine,
    policy: str,
    outcomes: Sequence[AnchorOutcome],
    rule: DriftRule,
    at_us: int,
) -> None:
    """Let the policy's anchor count these, each the first of its unit. The transaction is the lease holder's."""
    a = policy_anchor.c
    query = select(a.anchor_id, a.test, a.alarm_day).where(a.policy == policy)
    row = connection.execute(dialect.lock_exclusive(engine, query)).one_or_none()
    of_anchor = [] if row is None else [one for one in outcomes if one.anchor_id == row.anchor_id]
    counted = _first(connection, engine, of_anchor)
    if row is None or not counted:
        return
    day = at_us // DAY_US
    try:
        test = AnchorTest.of_json(json.loads(row.test))
    except (KeyError, TypeError, ValueError):
        logger.exception("anchor.damaged", extra={"policy": policy})
        test = AnchorTest()
    before = test.today
    for one in counted:
        test.count(one.value, live=one.live, differ=one.differ, share=one.share, day=day, worse_by=rule.worse_by)
    alarm_day = row.alarm_day
    if alarm_day is None and test.detector.log_evidence >= rule.log_needed:
        alarm_day = day
        _append(connection, policy, AnchorEvent(event="alarm", anchor_id=row.anchor_id, at_us=at_us))
        logger.warning("anchor.alarm", extra={"policy": policy, "anchor_id": row.anchor_id})
    kept = {"test": _packed(test.as_json()), "alarm_day": alarm_day}
    connection.execute(update(policy_anchor).where(a.anchor_id == row.anchor_id).values(kept))
    if before != test.today:
        m = release_unit.c
        old = m.release_id == row.anchor_id, m.decision_id < lowest_id(at_us - MARKS_KEPT_US)
        connection.execute(delete(release_unit).where(*old))


def _first(connection: Connection, engine: Engine, outcomes: Sequence[AnchorOutcome]) -> list[AnchorOutcome]:
    """Those that no unit was counted by before, which are marked."""
    offered: dict[str, AnchorOutcome] = {}
    for one in outcomes:
        offered.setdefault(one.unit, one)
    first = dialect.insert_into(engine, release_unit).on_conflict_do_nothing()
    rows = [
        {"release_id": one.anchor_id, "measure": REWARD, "unit": unit, "decision_id": one.decision_id}
        for unit, one in offered.items()
    ]
    marked: set[str] = set()
    for start in range(0, len(rows), _CHUNK):
        statement = first.values(rows[start : start + _CHUNK]).returning(release_unit.c.unit)
        marked.update(connection.execute(statement).scalars())
    return [one for unit, one in offered.items() if unit in marked]


def _append(connection: Connection, policy: str, event: AnchorEvent) -> None:
    """The policy's anchor is locked, or its state is."""
    c = anchor_event.c
    last = connection.execute(select(func.max(c.number)).where(c.policy == policy)).scalar() or 0
    connection.execute(insert(anchor_event), {"policy": policy, "number": last + 1, **asdict(event)})


def _packed(value: Mapping[str, Any]) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True)
