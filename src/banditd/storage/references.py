"""From a reference to its decision: the newest one that was made under it, or whose answer had that id."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, select

from banditd.core.references import Reference, decision_id_in
from banditd.storage.schema import decision, usage_report


def find_reference(connection: Connection, reference: Reference) -> str | None:
    """The id of the newest decision of that API key under this reference.

    An id that was made of the decision's own needs no look-up: whoever has it may reward the decision by it.
    """
    own = decision_id_in(reference.text)
    if own is not None:
        return own
    named = (
        select(decision.c.decision_id)
        .where(decision.c.reference == reference.text, _of_key(reference))
        .order_by(decision.c.decision_id.desc())
    )
    answered = (
        select(decision.c.decision_id)
        .select_from(usage_report.join(decision, decision.c.decision_id == usage_report.c.decision_id))
        .where(usage_report.c.response_id == reference.text, _of_key(reference))
        .order_by(decision.c.decision_id.desc())
    )
    found = [connection.execute(query.limit(1)).scalar() for query in (named, answered)]
    return max((one for one in found if one is not None), default=None)


def _of_key(reference: Reference) -> ColumnElement[bool]:
    key_name = decision.c.key_name
    return key_name.is_(None) if reference.key_name is None else key_name == reference.key_name
