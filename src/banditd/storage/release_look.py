"""What an open release is to be told of, read from the log: reports, how much is rated on each side, how late."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Connection, select

from banditd.core.ids import lowest_id
from banditd.core.release import REPORTED, RatedSides, UnitOutcome
from banditd.core.usage import REFUSAL_REASONS
from banditd.deciding.release import DRAWN
from banditd.deciding.release_course import Release
from banditd.ports.releases import ReleaseLook
from banditd.storage.codec import readable_release
from banditd.storage.delays import BOUNDS_S
from banditd.storage.follow_ups import followed
from banditd.storage.schema import contribution, decision, delay_count, release_unit, usage_report

NEWEST_DECISIONS: Final = 500
NEWEST_REPORTS: Final = 2000
QUANTILE: Final = 0.9  # of the rewards' delays, that has to pass before a decision counts ...
NO_MATTER_US: Final = 10_000_000  # ... where that is longer than this ...
MOST_US: Final = 3_600_000_000  # ... and no longer than this: a drop has to be found some day
SETTLED_US: Final = 60_000_000  # of younger decisions nobody knows whether they will be rated


def look_at(connection: Connection, release: Release, at_us: int) -> ReleaseLook:
    """What an open release is to be told of: bounded reads."""
    d = decision.c
    newest = (
        select(d.decision_id)
        .where(d.policy == release.policy)
        .order_by(d.decision_id.desc())
        .limit(NEWEST_DECISIONS)
        .subquery()
    )
    query = select(d.release).join(newest, newest.c.decision_id == d.decision_id).where(d.release.is_not(None))
    kept = [readable_release(row.release) for row in connection.execute(query)]
    distances = [float(one["distance"]) for one in kept if one and one.get("release") == release.release_id]
    differs = sum(distances) / len(distances) if distances else None
    late_us = _late_us(connection, release.policy)
    m = release_unit.c
    matures_us = min(late_us, MOST_US) if late_us > NO_MATTER_US else 0
    old = m.decided_at_us <= at_us - matures_us
    waiting = select(m.unit).where(m.release_id == release.release_id, m.held.is_not(None), old).limit(1)
    return ReleaseLook(
        outcomes=[*_reported(connection, release), *followed(connection, release, at_us)],
        differs=differs,
        matures_us=matures_us,
        waiting=connection.execute(waiting).first() is not None,
        rated=_rated(connection, release, at_us - max(late_us, SETTLED_US)),
    )


def _late_us(connection: Connection, policy: str) -> int:
    """Within which nine of ten rewards of the policy have come."""
    c = delay_count.c
    rows = connection.execute(select(c.bin, c.rewards).where(c.policy == policy).order_by(c.bin)).all()
    total = sum(row.rewards for row in rows)
    seen = 0
    for row in rows:
        seen += row.rewards
        if seen >= QUANTILE * total:
            return int(1e6 * min(BOUNDS_S[row.bin], BOUNDS_S[-2]))
    return 0


def _rated(connection: Connection, release: Release, until_us: int) -> RatedSides | None:
    """Which of the next decisions of the release, up to that time, are rated; None for none."""
    d, c = decision.c, contribution.c
    after_id = release.tests.rated_until
    query = (
        select(d.decision_id, d.release, c.decision_id.label("rated"))
        .select_from(decision.outerjoin(contribution, c.decision_id == d.decision_id))
        .where(
            d.policy == release.policy,
            d.decision_id > (after_id or lowest_id(release.created_at_us)),
            d.created_at_us <= until_us,
            d.release.is_not(None),
            d.reason.in_(sorted(DRAWN)),
        )
        .order_by(d.decision_id)
        .limit(NEWEST_DECISIONS)
    )
    counted = {"candidate": [0, 0], "incumbent": [0, 0]}
    until_id = ""
    for row in connection.execute(query):
        until_id, kept = row.decision_id, readable_release(row.release)
        if kept is not None and kept.get("release") == release.release_id and kept.get("side") in counted:
            of_side = counted[kept["side"]]
            of_side[0] += row.rated is not None
            of_side[1] += 1
    if not until_id:
        return None
    (a, b), (x, y) = counted["candidate"], counted["incumbent"]
    return RatedSides(after_id=after_id, until_id=until_id, candidate=(a, b), incumbent=(x, y))


def _reported(connection: Connection, release: Release) -> list[UnitOutcome]:
    """The newest usage reports that were not counted yet, oldest first."""
    if not any(one.outcome == REPORTED for one in release.terms.guardrails):
        return []
    d, u, m = decision.c, usage_report.c, release_unit.c
    newest = (
        select(u.decision_id)
        .where(u.policy == release.policy)
        .order_by(u.decision_id.desc())
        .limit(NEWEST_REPORTS)
        .subquery()
    )
    counted = select(m.decision_id).where(m.release_id == release.release_id, m.measure == REPORTED)
    query = (
        select(
            d.decision_id, d.release, u.error, u.finish_reason, u.refusal, u.latency_ms, u.cost_usd, u.output_tokens
        )
        .select_from(newest)
        .join(usage_report, u.decision_id == newest.c.decision_id)
        .join(decision, d.decision_id == newest.c.decision_id)
        .where(d.release.is_not(None), u.estimated.is_(False), d.decision_id.not_in(counted))
        .order_by(d.decision_id)
    )
    found = []
    for row in connection.execute(query):
        kept = readable_release(row.release)
        if kept is not None and kept.get("release") == release.release_id:
            found.append(_report(row, kept, release))
    return found


def _report(row: Any, kept: Mapping[str, Any], release: Release) -> UnitOutcome:
    bad = {
        "error": row.error is not None,
        "refusal": row.finish_reason in REFUSAL_REASONS if row.refusal is None else row.refusal,
        "latency": row.latency_ms,
        "cost": row.cost_usd,
        "output_length": row.output_tokens,
    }
    values = {}
    for guardrail in release.terms.guardrails:
        seen = bad.get(guardrail.measure)
        if seen is not None:
            values[guardrail.name] = 1.0 - float(seen if guardrail.limit is None else seen > guardrail.limit)
    return UnitOutcome(
        release_id=release.release_id,
        decision_id=row.decision_id,
        measure=REPORTED,
        unit=str(kept["unit"]),
        candidate=kept["side"] == "candidate",
        share=float(kept["share"]),
        differ=bool(kept["differ"]),
        values=values,
    )
