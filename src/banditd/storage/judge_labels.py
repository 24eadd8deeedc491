"""What people have said of answers that a judge has scored."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from sqlalchemy import Connection, Select, select

from banditd.core.judging import LabelledVerdict
from banditd.storage.schema import judgement, reward_event

MOST_EVENTS: Final = 20_000


def labelled_verdicts(
    connection: Connection, judge: str, version: str, people: Collection[str], limit: int
) -> list[LabelledVerdict]:
    """The newest ``limit`` verdicts and the oldest labelled ones, each decision once, oldest label first, then those
    without one. Of a person's word its newest revision counts, unless it was taken back.
    """
    labels: dict[str, dict[str, tuple[float | None, int]]] = {}
    verdicts: dict[str, Any] = {}
    for row in connection.execute(_events(judge, version, people)):
        verdicts[row.decision_id] = row
        of_decision = labels.setdefault(row.decision_id, {})
        first_us = of_decision.get(row.identity, (None, row.received_at_us))[1]
        of_decision[row.identity] = (None if row.kind == "retraction" else row.reward, first_us)
    c = judgement.c
    newest = (
        select(c.decision_id, c.arm, c.score, c.probability)
        .where(c.judge == judge, c.version == version)
        .order_by(c.decision_id.desc())
        .limit(limit)
    )
    for row in connection.execute(newest):
        verdicts.setdefault(row.decision_id, row)
    found = [_verdict(row, labels.get(decision_id, {})) for decision_id, row in verdicts.items()]
    return sorted(found, key=lambda one: (one.label is None, one.labelled_at_us, one.decision_id))


def _events(judge: str, version: str, people: Collection[str]) -> Select[Any]:
    c, event = judgement.c, reward_event.c
    return (
        select(
            c.decision_id, c.arm, c.score, c.probability,
            event.identity, event.kind, event.reward, event.received_at_us,
        )
        .join(reward_event, event.decision_id == c.decision_id)
        .where(
            c.judge == judge, c.version == version, event.source.in_(sorted(people)),
            event.kind.in_(("reward", "retraction")), event.status.in_(("recorded", "logged")),
        )
        .order_by(c.decision_id, event.identity, event.revision)
        .limit(MOST_EVENTS)
    )  # fmt: skip


def _verdict(row: Any, labels: dict[str, tuple[float | None, int]]) -> LabelledVerdict:
    standing = [(value, at_us) for value, at_us in labels.values() if value is not None]
    return LabelledVerdict(
        decision_id=row.decision_id,
        arm=row.arm,
        score=float(row.score),
        probability=float(row.probability),
        label=sum(value for value, _ in standing) / len(standing) if standing else None,
        labelled_at_us=min((at_us for _, at_us in standing), default=0),
    )
