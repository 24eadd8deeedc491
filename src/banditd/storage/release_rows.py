"""Releases as rows, and their outcomes counted exactly once: the mark of a unit is in the transaction of its test.

Whoever counts holds the learner's lease in the same transaction, and then locks the release's row: verbs lock that
row alone, so neither waits for the other in a circle.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from sqlalchemy import Connection, Engine, delete, func, insert, select, update

from banditd.core.candidate import Candidate
from banditd.core.release import REWARD, ReleaseTerms, UnitOutcome
from banditd.deciding.release_course import Release, ReleaseEvent, observed
from banditd.deciding.release_tests import ReleaseTests
from banditd.storage import dialect
from banditd.storage.release_points import keep_point
from banditd.storage.schema import policy_release, release_event, release_unit

_CHUNK: Final = 200
MOST_HELD: Final = 500  # that are counted at once


def row_of(release: Release) -> dict[str, Any]:
    """The release as it is stored."""
    return {
        "release_id": release.release_id,
        "policy": release.policy,
        "open_policy": release.policy if release.open else None,
        "candidate": _packed(release.candidate.plain()),
        "terms": _packed(release.terms.plain()),
        "tests": _packed(release.tests.as_json()),
        "phase": release.phase,
        "step": release.step,
        "due": release.due,
        "reason": release.reason,
        "key_name": release.key_name,
        "created_at_us": release.created_at_us,
        "step_at_us": release.step_at_us,
        "ended_at_us": release.ended_at_us,
    }


def release_of(row: Mapping[Any, Any]) -> Release:
    """The release again. Raises KeyError, TypeError, ValueError for a damaged row."""
    return Release(
        release_id=row["release_id"],
        policy=row["policy"],
        candidate=Candidate.from_plain(json.loads(row["candidate"])),
        terms=ReleaseTerms.of_plain(json.loads(row["terms"])),
        tests=ReleaseTests.of_json(json.loads(row["tests"])),
        phase=row["phase"],
        step=row["step"],
        due=bool(row["due"]),
        reason=row["reason"],
        key_name=row["key_name"],
        created_at_us=row["created_at_us"],
        step_at_us=row["step_at_us"],
        ended_at_us=row["ended_at_us"],
    )


def _packed(value: Mapping[str, Any]) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True)


def locked(connection: Connection, engine: Engine, release_id: str) -> Release | None:
    """The release, which this transaction alone may change."""
    query = select(policy_release).where(policy_release.c.release_id == release_id)
    row = connection.execute(dialect.lock_exclusive(engine, query)).mappings().one_or_none()
    return None if row is None else release_of(row)


def store(connection: Connection, release: Release, events: Sequence[ReleaseEvent], at_us: int) -> None:
    """Write a release that is locked, and its history on. What marks its units have left goes with its end."""
    c = policy_release.c
    connection.execute(update(policy_release).where(c.release_id == release.release_id).values(**row_of(release)))
    append_events(connection, release.release_id, events)
    keep_point(connection, release, at_us)
    if not release.open:
        connection.execute(delete(release_unit).where(release_unit.c.release_id == release.release_id))


def append_events(connection: Connection, release_id: str, events: Sequence[ReleaseEvent]) -> None:
    """The release is locked, or new."""
    if not events:
        return
    c = release_event.c
    last = connection.execute(select(func.max(c.number)).where(c.release_id == release_id)).scalar() or 0
    connection.execute(
        insert(release_event),
        [
            {
                "release_id": release_id, "number": last + 1 + i, "event": one.event, "step": one.step,
                "share": one.share, "reason": one.reason, "key_name": one.key_name, "at_us": one.at_us,
            }
            for i, one in enumerate(events)
        ],
    )  # fmt: skip


def count_outcomes(
    connection: Connection, engine: Engine, outcomes: Iterable[UnitOutcome], at_us: int
) -> dict[str, Release]:
    """Let open releases count these outcomes, each the first of its kind of a unit; the releases after it, by id.

    A release that an outcome speaks against ends here. The transaction must be the lease holder's.
    """
    by_release: dict[str, list[UnitOutcome]] = {}
    for outcome in outcomes:
        by_release.setdefault(outcome.release_id, []).append(outcome)
    found = {}
    for release_id in sorted(by_release):
        release = locked(connection, engine, release_id)
        if release is None or not release.open:
            continue
        counted = first_outcomes(connection, engine, release, by_release[release_id], at_us)
        if counted:
            release, events = observed(release, counted, at_us)
            store(connection, release, events, at_us)
        found[release_id] = release
    return found


def held_outcomes(connection: Connection, release: Release, at_us: int) -> list[UnitOutcome]:
    """Those of a locked release that have waited long enough, oldest first: they wait no more."""
    m = release_unit.c
    old = m.decided_at_us <= at_us - release.tests.matures_us
    query = select(m.measure, m.unit, m.held).where(m.release_id == release.release_id, m.held.is_not(None), old)
    found = []
    for row in connection.execute(query.order_by(m.decision_id).limit(MOST_HELD)).all():
        this = (m.release_id == release.release_id) & (m.measure == row.measure) & (m.unit == row.unit)
        connection.execute(update(release_unit).where(this).values(held=None))
        try:
            found.append(UnitOutcome(**json.loads(row.held)))
        except (TypeError, ValueError):
            continue  # damaged: its unit counts as one without an outcome
    return found


def _waits(outcome: UnitOutcome, release: Release, at_us: int) -> bool:
    """Whether its decision is too young to be counted: of the young only the hasty are rated, on either side."""
    return outcome.measure.startswith(REWARD) and outcome.decided_at_us > at_us - release.tests.matures_us


def first_outcomes(
    connection: Connection, engine: Engine, release: Release, outcomes: Sequence[UnitOutcome], at_us: int
) -> list[UnitOutcome]:
    """Those that no unit was counted by before, which are marked, less those that wait."""
    wanted = set(release.tests.splits)
    offered: dict[tuple[str, str], UnitOutcome] = {}
    for one in outcomes:
        if one.measure in wanted:
            offered.setdefault((one.measure, one.unit), one)
    first = dialect.insert_into(engine, release_unit).on_conflict_do_nothing()
    waiting = {key for key, one in offered.items() if _waits(one, release, at_us)}
    rows = [
        {
            "release_id": release.release_id, "measure": key[0], "unit": key[1], "decision_id": one.decision_id,
            "held": _packed(asdict(one)) if key in waiting else None, "decided_at_us": one.decided_at_us,
        }
        for key, one in offered.items()
    ]  # fmt: skip
    marked: set[tuple[str, str]] = set()
    for start in range(0, len(rows), _CHUNK):
        statement = first.values(rows[start : start + _CHUNK]).returning(release_unit.c.measure, release_unit.c.unit)
        marked.update((row.measure, row.unit) for row in connection.execute(statement))
    return [one for key, one in offered.items() if key in marked and key not in waiting]
