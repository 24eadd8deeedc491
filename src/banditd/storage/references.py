"""From a reference to its decision: the newest one that was made under it, or whose answer had that id."""

from __future__ import annotations

from typing import Final

from sqlalchemy import ColumnElement, Connection, select

from banditd.core.references import Reference, decision_id_in
from banditd.storage.schema import decision, usage_report

MOST: Final = 50


def find_references(connection: Connection, reference: Reference) -> list[tuple[str, str]]:
    """(id, policy) of the decisions of that API key under this reference, the newest first, at most ``MOST``.

    An id that was made of the decision's own means that decision: whoever has it may reward the decision by it.
    """
    which = select(decision.c.decision_id, decision.c.policy)
    own = decision_id_in(reference.text)
    if own is not None:
        made = connection.execute(which.where(decision.c.decision_id == own)).one_or_none()
        if made is not None:  # else an upstream that makes its ids in the same form
            return [(made[0], made[1])]
    named = which.where(decision.c.reference == reference.text, _of_key(reference)).order_by(
        decision.c.decision_id.desc()
    )
    answered = (
        which.select_from(usage_report.join(decision, decision.c.decision_id == usage_report.c.decision_id))
        .where(usage_report.c.response_id == reference.text, _of_key(reference))
        .order_by(decision.c.decision_id.desc())
    )
    found = {(row[0], row[1]) for query in (named, answered) for row in connection.execute(query.limit(MOST))}
    return sorted(found, reverse=True)[:MOST]


def _of_key(reference: Reference) -> ColumnElement[bool]:
    key_name = decision.c.key_name
    return key_name.is_(None) if reference.key_name is None else key_name == reference.key_name
