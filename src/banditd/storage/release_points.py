"""The way of a release as rows: written in the transaction that changes the release, whose row is locked or new."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from banditd.deciding.release_course import Release
from banditd.deciding.release_points import MeasurePoint, ReleasePoint, given_up, point_of, worth_keeping
from banditd.storage.schema import release_point


def keep_point(connection: Connection, release: Release, at_us: int) -> None:
    """Keep how the release stands, where it is time to, or its share has changed."""
    c = release_point.c
    of_release = c.release_id == release.release_id
    last = connection.execute(
        select(c.number, c.at_us, c.step, c.share).where(of_release).order_by(c.number.desc()).limit(1)
    ).one_or_none()
    turned = last is not None and (last.step, last.share) != (release.step, release.share)
    if not turned and not worth_keeping(release, None if last is None else last.at_us, at_us):
        return
    point = point_of(release, at_us if last is None else max(at_us, last.at_us))  # clocks of replicas differ
    number = 1 if last is None else last.number + 1
    connection.execute(insert(release_point), _row(release.release_id, number, point))
    numbers = connection.execute(select(c.number).where(of_release).order_by(c.number)).scalars().all()
    doomed = given_up(numbers)
    if doomed:
        connection.execute(delete(release_point).where(of_release, c.number.in_(doomed)))


def points_of(connection: Connection, release_id: str) -> list[ReleasePoint]:
    """Oldest first."""
    c = release_point.c
    query = select(release_point).where(c.release_id == release_id).order_by(c.number)
    return [_point(row) for row in connection.execute(query).mappings()]


def _row(release_id: str, number: int, point: ReleasePoint) -> dict[str, Any]:
    measures = {
        name: [one.log_evidence, one.difference, one.interval, one.units] for name, one in point.measures.items()
    }
    return {
        "release_id": release_id, "number": number, "at_us": point.at_us, "step": point.step, "share": point.share,
        "differs": point.differs, "measures": json.dumps(measures, separators=(",", ":")),
    }  # fmt: skip


def _point(row: Mapping[Any, Any]) -> ReleasePoint:
    measures = {
        name: MeasurePoint(evidence, difference, interval and (interval[0], interval[1]), (units[0], units[1]))
        for name, (evidence, difference, interval, units) in json.loads(row["measures"]).items()
    }
    return ReleasePoint(
        at_us=row["at_us"], step=row["step"], share=row["share"], differs=row["differs"], measures=measures
    )
