"""Releases in SQL. One statement of one transaction ends each, and the poll of every replica follows."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from sqlalchemy import Connection, select

from banditd.core.candidate import Candidate
from banditd.core.errors import BanditdError, ConflictError, NotFoundError
from banditd.deciding.release_course import (
    Author,
    Release,
    ReleaseEvent,
    aborted,
    looked_at,
    measured,
    observed,
    started,
)
from banditd.deciding.release_points import ReleasePoint
from banditd.ports.releases import Change, Promotion, ReleaseLook, StandingReleases, Undone
from banditd.storage import dialect
from banditd.storage.arm_fields import change_fields
from banditd.storage.engine import Database
from banditd.storage.promotion_drops import dropped_fields, dropped_switches
from banditd.storage.release_look import look_at
from banditd.storage.release_points import keep_point, points_of
from banditd.storage.release_rows import (
    append_events,
    first_outcomes,
    held_outcomes,
    locked,
    release_of,
    row_of,
    store,
)
from banditd.storage.schema import (
    lease,
    policy_promotion,
    policy_release,
    release_event,
)
from banditd.storage.switches import change_switches

logger = logging.getLogger(__name__)
LEARNER_LEASE: Final = "learner"
TAKEN_BACK: Final = "taken_back"
"""The event of a promotion that was undone."""


class SqlReleaseStore:
    """``ports.releases.ReleaseStore`` over one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._engine = database.engine
        self._first = dialect.insert_into(database.engine, policy_promotion).on_conflict_do_nothing()
        self._promotions = dialect.replace_row(database.engine, policy_promotion, ("promoted", "updated_at_us"))

    # ---------------------------------------------------------------- reading

    async def standing(self, since_us: int) -> StandingReleases:
        c = policy_release.c
        ended = (c.ended_at_us >= since_us) & (c.phase != "promoted")
        wanted = select(policy_release).where(c.open_policy.is_not(None) | ended)

        def work(connection: Connection) -> StandingReleases:
            rows = connection.execute(wanted).mappings().all()
            promoted = connection.execute(select(policy_promotion)).mappings().all()
            releases = [one for row in rows if (one := _readable(row)) is not None]
            return StandingReleases(
                releases={one.policy: one for one in releases if one.open},
                ended=[one for one in releases if not one.open],
                promoted={row["policy"]: _promotions_of(row["promoted"]) for row in promoted},
            )

        return await self._database.read(work)

    async def get(self, release_id: str) -> Release | None:
        query = select(policy_release).where(policy_release.c.release_id == release_id)
        row = await self._database.read(lambda connection: connection.execute(query).mappings().one_or_none())
        return None if row is None else release_of(row)

    async def page(self, policy: str | None, limit: int) -> Sequence[Release]:
        query = select(policy_release).order_by(policy_release.c.release_id.desc()).limit(limit)
        if policy is not None:
            query = query.where(policy_release.c.policy == policy)
        rows = await self._database.read(lambda connection: connection.execute(query).mappings().all())
        return [one for row in rows if (one := _readable(row)) is not None]

    async def events(self, release_id: str) -> Sequence[ReleaseEvent]:
        c = release_event.c
        columns = [c.event, c.at_us, c.step, c.share, c.reason, c.key_name]
        query = select(*columns).where(c.release_id == release_id).order_by(c.number)
        rows = await self._database.read(lambda connection: connection.execute(query).mappings().all())
        return [ReleaseEvent(**row) for row in rows]

    async def taken_back(self, policy: str, since_us: int) -> Sequence[tuple[Release, str | None]]:
        c, e = policy_release.c, release_event.c
        undone = select(policy_release, e.reason.label("why")).join(release_event, e.release_id == c.release_id)
        query = undone.where(
            c.policy == policy, c.phase == "promoted", e.event == TAKEN_BACK, e.at_us >= since_us
        ).order_by(c.release_id)
        rows = await self._database.read(lambda connection: connection.execute(query).mappings().all())
        return [(one, row["why"]) for row in rows if (one := _readable(row)) is not None]

    async def points(self, release_id: str) -> Sequence[ReleasePoint]:
        return await self._database.read(lambda connection: points_of(connection, release_id))

    # ---------------------------------------------------------------- verbs

    async def start(self, release: Release, by: Author) -> Release:
        c = policy_release.c

        def work(connection: Connection) -> Release | BanditdError:
            first = dialect.insert_into(self._engine, policy_release).on_conflict_do_nothing(
                index_elements=["open_policy"]
            )
            begun, events = started(release, by)
            stored = connection.execute(first.values(**row_of(begun)).returning(c.release_id)).one_or_none()
            if stored is None:
                other = connection.execute(select(c.release_id).where(c.open_policy == release.policy)).scalar()
                return ConflictError(
                    f"policy {release.policy} has the open release {other}; promote or abort it first",
                    code="RELEASE_OPEN",
                )
            append_events(connection, begun.release_id, events)
            keep_point(connection, begun, by.at_us)
            return begun

        begun: Release = await self._database.write(work)
        return begun

    async def change(self, release_id: str, work: Change, *, switches: Mapping[str, object] | None = None) -> Release:
        def run(connection: Connection) -> Release | BanditdError:
            release = locked(connection, self._engine, release_id)
            if release is None:
                return NotFoundError(f"no such release: {release_id}", code="RELEASE_NOT_FOUND")
            try:
                after, events = work(release)
            except BanditdError as error:
                return error
            self._store(connection, after, events, switches)
            return after

        changed: Release = await self._database.write(run)
        return changed

    def _store(
        self,
        connection: Connection,
        after: Release,
        events: Sequence[ReleaseEvent],
        switches: Mapping[str, object] | None = None,
    ) -> None:
        """Write what became of a release; where it was promoted, the policy with it."""
        if not events:
            return
        store(connection, after, events, events[-1].at_us)
        if after.phase == "promoted":
            at_us = events[-1].at_us
            promoted = self._promoted(connection, after.policy)  # locked first, as by ``roll_back``
            before = change_fields(connection, self._engine, after.policy, after.candidate.arms, at_us)
            turned = self._turned(connection, after.policy, switches, at_us) if switches else None
            new = Promotion(
                release_id=after.release_id, candidate=after.candidate, arms_before=before, at_us=at_us,
                switches_before=turned, switches_after=dict(switches) if switches else None,
            )  # fmt: skip
            self._keep(connection, after.policy, [*promoted, new], at_us)

    def _turned(
        self, connection: Connection, policy: str, switches: Mapping[str, object], at_us: int
    ) -> dict[str, object]:
        """Turn these switches; what was stored of them before."""
        before: dict[str, object] = {}

        def work(stored: Mapping[str, object]) -> Mapping[str, object]:
            before.update({name: stored[name] for name in switches if name in stored})
            return {**stored, **switches}

        change_switches(connection, self._engine, policy, work, at_us)
        return before

    def _turned_back(self, connection: Connection, policy: str, promotion: Promotion, at_us: int) -> list[str]:
        """Let the switches that a promotion has turned stand as they did before it; what that drops."""
        before = promotion.switches_before
        found: list[str] = []
        if before is None:
            return found

        def work(stored: Mapping[str, object]) -> Mapping[str, object]:
            found.extend(dropped_switches(promotion, stored))
            kept = {name: value for name, value in stored.items() if name not in promotion.candidate.settings}
            return {**kept, **before}

        change_switches(connection, self._engine, policy, work, at_us)
        return found

    def _promoted(self, connection: Connection, policy: str) -> list[Promotion]:
        """What was promoted, which this transaction alone may change."""
        connection.execute(self._first, {"policy": policy, "promoted": "[]", "updated_at_us": 0})
        query = select(policy_promotion.c.promoted).where(policy_promotion.c.policy == policy)
        return _promotions_of(connection.execute(dialect.lock_exclusive(self._engine, query)).scalar_one())

    def _keep(self, connection: Connection, policy: str, promoted: Sequence[Promotion], at_us: int) -> None:
        plain = [{name: value for name, value in asdict(one).items() if value is not None} for one in promoted]
        text = json.dumps(plain, separators=(",", ":"), sort_keys=True)
        connection.execute(self._promotions, {"policy": policy, "promoted": text, "updated_at_us": at_us})

    async def roll_back(self, policy: str, by: Author) -> Undone:
        c = policy_release.c

        def run(connection: Connection) -> Undone | BanditdError:
            release_id = connection.execute(select(c.release_id).where(c.open_policy == policy)).scalar()
            release = None if release_id is None else locked(connection, self._engine, release_id)
            if release is not None and release.open:
                after, events = aborted(release, by)
                self._store(connection, after, events)
                return Undone(after)
            promoted = self._promoted(connection, policy)
            if not promoted:
                return ConflictError(
                    f"policy {policy} has no open release, and nothing was promoted: there is nothing to take back",
                    code="NOTHING_TO_ROLL_BACK",
                )
            last = promoted.pop()
            arms = change_fields(connection, self._engine, policy, last.arms_before, by.at_us)
            dropped = [*dropped_fields(last, arms), *self._turned_back(connection, policy, last, by.at_us)]
            self._keep(connection, policy, promoted, by.at_us)
            why = [by.reason] if by.reason else []
            why += [f"drops what was changed after the promotion: {', '.join(dropped)}"] if dropped else []
            event = ReleaseEvent(
                event=TAKEN_BACK, at_us=by.at_us, step=0, share=0.0, reason="; ".join(why) or None,
                key_name=by.key_name,
            )  # fmt: skip
            append_events(connection, last.release_id, [event])
            return Undone(last, dropped)

        undone: Undone = await self._database.write(run)
        return undone

    # ---------------------------------------------------------------- counting

    async def look(self, release: Release, now_us: int) -> ReleaseLook:
        return await self._database.read(lambda connection: look_at(connection, release, now_us), report=True)

    async def count(
        self, release_id: str, look: ReleaseLook, *, holder: str, at_us: int,
        switches: Mapping[str, object] | None = None, measured_by: Mapping[str, str] | None = None,
    ) -> Release | None:  # fmt: skip
        held = select(lease.c.holder).where(lease.c.name == LEARNER_LEASE)

        def run(connection: Connection) -> Release | None:
            if connection.execute(dialect.lock_exclusive(self._engine, held)).scalar() != holder:
                return None
            release = locked(connection, self._engine, release_id)
            if release is None or not release.open:
                return release
            release, events = (release, []) if measured_by is None else measured(release, measured_by, at_us)
            _adopt(release, look)
            waited = held_outcomes(connection, release, at_us)
            counted = first_outcomes(connection, self._engine, release, look.outcomes, at_us)
            release, ended = observed(release, [*waited, *counted], at_us)
            after, taken = looked_at(release, at_us)
            events += [*ended, *taken]
            if events:
                self._store(connection, after, events, switches)
            else:
                store(connection, after, (), at_us)
            return after

        counted: Release | None = await self._database.write(run)
        return counted


def _readable(row: Mapping[Any, Any]) -> Release | None:
    """None where the row is damaged: the incumbent decides then."""
    try:
        return release_of(row)
    except (KeyError, TypeError, ValueError):
        logger.exception("release.damaged", extra={"release_id": row["release_id"]})
        return None


def _adopt(release: Release, look: ReleaseLook) -> None:
    """What was seen beside the outcomes."""
    if look.differs is not None:
        release.tests.differs = look.differs
    release.tests.matures_us = look.matures_us
    if look.rated is not None:
        release.tests.count_rated(look.rated)


def _promotions_of(text: str) -> list[Promotion]:
    return [Promotion(**{**one, "candidate": Candidate.from_plain(one["candidate"])}) for one in json.loads(text)]
