"""Which values of a tag have rows of their own: at most ``VALUES`` of a tag, at most ``TAGS`` tags of a policy.

Who comes first gets a place; what has none is counted under ``""``. Upkeep (``tag_upkeep.py``) takes places from the
lightest while they are short, so that a value which comes late and often gets one too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from sqlalchemy import Connection, Engine, select

from banditd.ports.tags import REST
from banditd.storage import dialect
from banditd.storage.schema import tag_value

TAGS: Final = 16
VALUES: Final = 100


class Places:
    """The places of one policy, as they stand inside the transaction that has locked them."""

    def __init__(self, known: Iterable[tuple[str, str]]) -> None:
        self.values: dict[str, set[str]] = {}
        for tag, value in known:
            if tag:
                self.values.setdefault(tag, set())
                if value:
                    self.values[tag].add(value)

    def find(self, tag: str, value: str) -> str | None:
        """Under which value it is counted; None where the tag has no place. Unknown ones get a place while there is
        one.
        """
        values = self.values.get(tag)
        if values is None:
            if len(self.values) >= TAGS:
                return None
            values = self.values[tag] = set()
        if value in values:
            return value
        if value == REST or len(values) >= VALUES:
            return REST
        values.add(value)
        return value


def lock_places(connection: Connection, engine: Engine, policies: Iterable[str]) -> Mapping[str, Places]:
    """The places of policies, which nobody else changes before this transaction ends."""
    c = tag_value.c
    # An update that changes nothing takes the row's lock, whether the row was there or not.
    root = dialect.add_up(engine, tag_value, ("decisions",))
    found = {}
    for policy in sorted(policies):
        row = {"policy": policy, "tag": REST, "value": REST, "decisions": 0, "last_at_us": 0}
        connection.execute(root, row)
        known = connection.execute(select(c.tag, c.value).where(c.policy == policy))
        found[policy] = Places((tag, value) for tag, value in known)
    return found


def read_places(connection: Connection, policy: str) -> Mapping[str, set[str]]:
    """The values with a place, by tag."""
    c = tag_value.c
    known = connection.execute(select(c.tag, c.value).where(c.policy == policy))
    return Places((tag, value) for tag, value in known).values
