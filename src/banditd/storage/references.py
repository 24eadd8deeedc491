"""From a reference to its decision: the newest one that was made under it, or whose answer had that id."""

from __future__ import annotations

from typing import Final

from sqlalchemy import ColumnElement, Connection, Select, bindparam, select

from banditd.core.references import Reference, decision_id_in
from banditd.storage.schema import decision, usage_report

MOST: Final = 50
_WHICH: Final = select(decision.c.decision_id, decision.c.policy)
_OWN: Final = _WHICH.where(decision.c.decision_id == bindparam("own"))
_NAMED: Final = _WHICH.where(decision.c.reference == bindparam("text"))
_ANSWERED: Final = _WHICH.select_from(
    usage_report.join(decision, decision.c.decision_id == usage_report.c.decision_id)
).where(usage_report.c.response_id == bindparam("text"))


def _newest(of_key: ColumnElement[bool]) -> tuple[Select[str, str], ...]:
    return tuple(
        query.where(of_key).order_by(decision.c.decision_id.desc()).limit(MOST) for query in (_NAMED, _ANSWERED)
    )


_OF_KEY: Final = _newest(decision.c.key_name == bindparam("key_name"))
_OF_NO_KEY: Final = _newest(decision.c.key_name.is_(None))


def find_references(connection: Connection, reference: Reference) -> list[tuple[str, str]]:
    """(id, policy) of the decisions of that API key under this reference, the newest first, at most ``MOST``.

    An id that was made of the decision's own means that decision: whoever has it may reward the decision by it.
    """
    own = decision_id_in(reference.text)
    if own is not None:
        made = connection.execute(_OWN, {"own": own}).one_or_none()
        if made is not None:  # else an upstream that makes its ids in the same form
            return [(made[0], made[1])]
    values = {"text": reference.text, "key_name": reference.key_name}
    queries = _OF_NO_KEY if reference.key_name is None else _OF_KEY
    found = {(row[0], row[1]) for query in queries for row in connection.execute(query, values)}
    return sorted(found, reverse=True)[:MOST]
