"""How a partitioned log is laid out: its spans of time, what the catalogue says of them, and making it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Connection, Table, text

from banditd.core.errors import ConflictError
from banditd.core.ids import lowest_id
from banditd.storage.partitions.belongings import belongings, execute_literally
from banditd.storage.schema import arm_reward, decision, metadata, reward_event, usage_report

SPAN_US: Final = 28 * 86_400 * 1_000_000
"""What one partition holds: four weeks from a Monday, UTC. Who asks for no id plans for each of them."""
AHEAD: Final = 2
"""So many spans behind the present one have their partition already."""
_MONDAY_US: Final = 4 * 86_400 * 1_000_000  # 1970-01-05
_DEFAULT: Final = "decision_default"
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_RANGE: Final = re.compile(r"FOR VALUES FROM \('([^']*)'\) TO \('([^']*)'\)")
CHILDREN: Final[tuple[Table, ...]] = tuple(
    table
    for table in reversed(metadata.sorted_tables)
    if any(key.column is decision.c.decision_id for key in table.foreign_keys)
)
"""The tables whose rows go with their decision, children first."""
ARRIVING: Final = (reward_event, arm_reward, usage_report)
"""Those of them that tell when something came for a decision, however old that is."""


@dataclass(frozen=True, slots=True, order=True)
class Partition:
    """A table that holds the decisions with ``from_id`` <= id < ``to_id``."""

    from_id: str
    to_id: str
    name: str


def span_of(at_us: int) -> int:
    """The number of the span that holds this moment."""
    return (at_us - _MONDAY_US) // SPAN_US


def span_start_us(span: int) -> int:
    """When it begins, microseconds since the epoch."""
    return span * SPAN_US + _MONDAY_US


def time_of_id_us(decision_id: str) -> int:
    """The millisecond of a UUIDv7, as microseconds since the epoch. Raises ValueError for what is no UUID."""
    if _UUID.fullmatch(decision_id) is None:
        raise ValueError("no UUID")
    return int(decision_id.replace("-", "")[:12], 16) * 1000


def occupied_spans(connection: Connection, latest_us: int) -> list[int]:
    """The spans in which a log has decisions, the oldest first and at most that of ``latest_us``.

    One look into the index for each. Ids that are no UUIDs, and those of clocks that are ahead, are in none.
    """
    found: list[int] = []
    next_id = text("SELECT min(decision_id) FROM decision WHERE decision_id >= :low")
    low = ""
    while (first := connection.execute(next_id, {"low": low}).scalar()) is not None:
        try:
            span = span_of(time_of_id_us(first))
        except ValueError:
            break
        if span > span_of(latest_us):
            break
        found.append(span)
        low = lowest_id(span_start_us(span + 1))
    return found


def is_partitioned(connection: Connection) -> bool:
    """Whether the decision log of this database has partitions."""
    if connection.dialect.name != "postgresql":
        return False
    kind = text("SELECT relkind FROM pg_class WHERE oid = to_regclass(:name)")
    return connection.execute(kind, {"name": decision.name}).scalar() in {"p", b"p"}


def partitions(connection: Connection, parent: str = decision.name) -> list[Partition]:
    """Those with a range, the oldest first; the default partition is none of them."""
    rows = connection.execute(
        text(
            "SELECT c.relname, pg_get_expr(c.relpartbound, c.oid) FROM pg_inherits "
            "JOIN pg_class c ON c.oid = inhrelid WHERE inhparent = to_regclass(:parent)"
        ),
        {"parent": parent},
    )
    found = []
    for name, bound in rows:
        ends = _RANGE.fullmatch(bound)
        if ends is not None:
            found.append(Partition(ends[1], ends[2], name))
    return sorted(found)


def default_partition(connection: Connection, parent: str = decision.name) -> str | None:
    """The name of the partition that takes what no other one does."""
    return connection.execute(
        text(
            "SELECT c.relname FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid "
            "WHERE inhparent = to_regclass(:parent) AND pg_get_expr(c.relpartbound, c.oid) = 'DEFAULT'"
        ),
        {"parent": parent},
    ).scalar()


def alembic_filter(connection: Connection) -> Any:
    """A filter for Alembic's comparison of a database with the code (``include_object``): what partitions change.

    Partitions are no tables of the code, and a partitioned log is referred to by no foreign key.
    """
    free = is_partitioned(connection)
    parts: set[str | None] = {one.name for one in partitions(connection)} if free else set()
    parts.add(default_partition(connection) if free else None)

    def included(item: Any, name: str | None, kind: str, reflected: bool, _compared: Any) -> bool:
        if kind == "table":
            return not reflected or name not in parts
        if kind == "foreign_key_constraint" and free:
            return all(one.column.table.name != decision.name for one in item.elements)
        return True

    return included


# ---------------------------------------------------------------- making it


def partition_new(connection: Connection, now_us: int) -> None:
    """Give a log without rows its partitions. All of it is one transaction, that of the migration."""
    connection.execute(text(f'LOCK TABLE "{decision.name}" IN ACCESS EXCLUSIVE MODE'))
    former = f"{decision.name}_former"
    refuse_taken(connection, former)
    statements = belongings(connection)
    connection.execute(text(f'ALTER TABLE "{decision.name}" RENAME TO "{former}"'))
    make_parent(connection, decision.name, like=former)
    connection.execute(text(f'DROP TABLE "{former}" CASCADE'))
    connection.execute(text(primary_key_of(decision.name, f"pk_{decision.name}")))
    for index in sorted(decision.indexes, key=lambda one: str(one.name)):
        index.create(connection)
    for statement in statements:
        execute_literally(connection, statement)
    add_missing(connection, spans_ahead(now_us))


def release_children(connection: Connection) -> None:
    """Drop every foreign key with which our own tables refer to the log.

    Raises ConflictError where a table of somebody else does: no partition could be dropped.
    """
    found = connection.execute(
        text(
            "SELECT conrelid::regclass::text, quote_ident(conname), "
            "c.oid IS NOT DISTINCT FROM to_regclass(quote_ident(relname)) AND relname = ANY(:ours) "
            "FROM pg_constraint JOIN pg_class AS c ON c.oid = conrelid "
            "WHERE contype = 'f' AND confrelid = to_regclass(:name) AND conparentid = 0 ORDER BY 1, 2"
        ),
        {"name": decision.name, "ours": list(metadata.tables)},
    ).all()
    others = [f"ALTER TABLE {table} DROP CONSTRAINT {key}" for table, key, is_ours in found if not is_ours]
    if others:
        raise ConflictError(
            "tables that are not banditd's refer to its log by foreign keys, so no partition of it could be dropped. "
            f"Nothing was changed. Keep the id without the key, then run this again: {'; '.join(others)}"
        )
    for table, key, _ in found:
        execute_literally(connection, f"ALTER TABLE {table} DROP CONSTRAINT {key}")


def refuse_taken(connection: Connection, name: str) -> None:
    """Raises ConflictError where something has the name that a table of ours is to have."""
    query = text(
        "SELECT concat_ws(' ', i.type, i.identity) FROM pg_class AS c, "
        "LATERAL pg_identify_object('pg_class'::regclass, c.oid, 0) AS i "
        "WHERE relname = :name AND relnamespace = current_schema()::regnamespace"
    )
    found = connection.execute(query, {"name": name}).scalar()
    if found is not None:
        raise ConflictError(
            f"the {found} has the name that a partition of the decision log needs, and is none. Rename or drop it, "
            "or give banditd a database or a schema of its own; then run this again"
        )


def make_parent(connection: Connection, name: str, *, like: str) -> None:
    """A partitioned table with the columns of ``like`` and a default partition; without a key, without indexes."""
    copied = "INCLUDING DEFAULTS INCLUDING STORAGE INCLUDING COMPRESSION"
    refuse_taken(connection, name)
    refuse_taken(connection, _DEFAULT)
    connection.execute(text(f'CREATE TABLE "{name}" (LIKE "{like}" {copied}) PARTITION BY RANGE (decision_id)'))
    connection.execute(text(f'CREATE TABLE "{_DEFAULT}" PARTITION OF "{name}" DEFAULT'))


def primary_key_of(table: str, key: str) -> str:
    """The statement that gives a table its primary key."""
    return f'ALTER TABLE "{table}" ADD CONSTRAINT "{key}" PRIMARY KEY (decision_id)'


def spans_ahead(now_us: int) -> range:
    """The present span and those behind it that are to have their partition."""
    present = span_of(now_us)
    return range(present, present + AHEAD + 1)


def missing_spans(connection: Connection, now_us: int) -> list[int]:
    """Those of ``spans_ahead`` that have no partition yet; none where the log has no partitions at all."""
    if not is_partitioned(connection):
        return []
    starts = {one.from_id for one in partitions(connection)}
    return [span for span in spans_ahead(now_us) if lowest_id(span_start_us(span)) not in starts]


def add_missing(connection: Connection, spans: Iterable[int], parent: str = decision.name) -> None:
    """Make the partitions of those spans that have none."""
    starts = {one.from_id for one in partitions(connection, parent)}
    for span in spans:
        if lowest_id(span_start_us(span)) not in starts:
            add_partition(connection, span, parent)


def make_room(source: Connection, target: Connection, now_us: int) -> None:
    """Give the log of ``target`` partitions for the decisions of ``source``; nothing where it has none at all."""
    if is_partitioned(target):
        add_missing(target, occupied_spans(source, now_us + AHEAD * SPAN_US))


def add_partition(connection: Connection, span: int, parent: str = decision.name) -> None:
    """Make the partition of a span. Rows of it that the default partition has taken meanwhile move into it.

    Attached, not made in place: that holds up nobody who reads or writes the other partitions.
    """
    start_us = span_start_us(span)
    low, high = lowest_id(start_us), lowest_id(start_us + SPAN_US)
    name = f"decision_{datetime.fromtimestamp(start_us / 1e6, UTC):%Y%m%d}"
    default = default_partition(connection, parent)
    refuse_taken(connection, name)
    connection.execute(text(f'CREATE TABLE "{name}" (LIKE "{parent}" INCLUDING ALL)'))
    if default is not None:
        among = f"decision_id >= '{low}' AND decision_id < '{high}'"
        connection.execute(
            text(
                f'WITH moved AS (DELETE FROM "{default}" WHERE {among} RETURNING *) '  # noqa: S608 - ids of our own making
                f'INSERT INTO "{name}" SELECT * FROM moved'
            )
        )
    connection.execute(
        text(f"ALTER TABLE \"{parent}\" ATTACH PARTITION \"{name}\" FOR VALUES FROM ('{low}') TO ('{high}')")
    )
