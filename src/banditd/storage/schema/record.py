"""The stored columns of a decision: one table, from which the SQL table, insert, reading and export are made.

A new column is a field of ``Decision``, a line here and a migration.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import add, attrgetter
from typing import Any, Final

import numpy as np
from sqlalchemy import BigInteger, Boolean, Column, Double, Integer, LargeBinary, Text, text

from banditd.core.types import Context, Decision
from banditd.storage.codec import (
    clean_text,
    pack_blend,
    pack_charges,
    pack_context,
    pack_facts,
    pack_mapping,
    pack_names,
    pack_terms,
    pack_vector,
    show_blend,
    show_charges,
    unpack_context,
    unpack_mapping,
    unpack_names,
    unpack_vector,
)


def _same(value: Any) -> Any:
    return value


@dataclass(frozen=True, slots=True)
class Kind:
    """How values of a kind are kept.

    sql : type. arrow : type in an export (``json``: text of it). pack : to the stored form; numpy's become plain.
    show : from the stored form to what readers get, of JSON alone. load : from it to the field of ``Decision``.
    """

    sql: Any
    arrow: str
    pack: Callable[[Any], Any] = _same
    show: Callable[[Any], Any] = _same
    load: Callable[[Any], Any] = _same


def _to_array(blob: bytes) -> Any:
    return np.array(unpack_vector(blob))


def _unless_null(work: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else work(value)


TEXT: Final = Kind(Text, "string")
PROMPT: Final = Kind(Text, "string", clean_text)
NUMBER: Final = Kind(Double, "double", float)
WHOLE: Final = Kind(BigInteger, "int64", int)
SMALL: Final = Kind(Integer, "int64", int)
FLAG: Final = Kind(Boolean, "bool", bool)
NAMES: Final = Kind(Text, "list<string>", pack_names, lambda stored: list(unpack_names(stored)), unpack_names)
VECTOR: Final = Kind(LargeBinary, "list<double>", pack_vector, unpack_vector, _to_array)
FEATURES: Final = Kind(
    LargeBinary, "list<double>", pack_context, lambda blob: unpack_context(blob).tolist(), unpack_context
)
MAPPING: Final = Kind(Text, "json", pack_mapping, unpack_mapping, unpack_mapping)
FACTS: Final = Kind(Text, "json", pack_facts, unpack_mapping, unpack_mapping)
CHARGES: Final = Kind(Text, "json", pack_charges, show_charges)
KEEP: Final = Kind(Double, "double", _unless_null(float))
PROMISE: Final = Kind(Text, "json", _unless_null(pack_terms), unpack_mapping, _unless_null(unpack_mapping))
OWN_VECTOR: Final = Kind(
    LargeBinary, "list<double>", _unless_null(pack_vector), unpack_vector, _unless_null(_to_array)
)
RELEASE: Final = Kind(Text, "json", _unless_null(pack_mapping), unpack_mapping, _unless_null(unpack_mapping))
BLEND: Final = Kind(Text, "json", pack_blend, show_blend)


@dataclass(frozen=True, slots=True)
class Stored:
    """One column.

    field : of ``Decision`` (dots go into its parts); the column's name unless given. heavy : left out of pages.
    """

    name: str
    kind: Kind
    field: str = ""
    nullable: bool = False
    default: str | None = None
    primary_key: bool = False
    heavy: bool = False

    def column(self) -> Column[Any]:
        default = None if self.default is None else text(self.default)
        return Column(
            self.name,
            self.kind.sql,
            nullable=self.nullable,
            server_default=default,
            primary_key=self.primary_key,
        )


RECORD: Final = (
    Stored("decision_id", TEXT, primary_key=True),
    Stored("policy", TEXT),
    Stored("policy_kind", TEXT),
    Stored("created_at_us", WHOLE),
    Stored("expires_at_us", WHOLE),
    Stored("arm", TEXT),
    Stored("upstream_model", TEXT),
    Stored("propensity", NUMBER),
    Stored("uniform", NUMBER),
    Stored("explored", FLAG),
    Stored("reason", TEXT),
    Stored("degraded", TEXT, nullable=True),
    Stored("arms", NAMES),
    Stored("probability", VECTOR),
    Stored("mean", VECTOR),
    Stored("deviation", VECTOR),
    Stored("cost_usd", VECTOR),
    Stored("penalty", VECTOR),
    Stored("predicted_cost_usd", NUMBER),
    Stored("exclusions", MAPPING),
    Stored("x", FEATURES, "context.x", heavy=True),
    Stored("cluster", SMALL, "context.cluster"),
    Stored("schema_hash", TEXT),
    Stored("snapshot_version", WHOLE),
    Stored("epoch", WHOLE),
    Stored("cost_weight", NUMBER),
    Stored("input_tokens", WHOLE),
    Stored("input_hash", TEXT, nullable=True),
    Stored("input_text", PROMPT, nullable=True, heavy=True),
    Stored("session_id", TEXT, nullable=True),
    Stored("tags", MAPPING),
    Stored("deferred", FLAG),
    Stored("facts", FACTS, "context.facts", default="'{}'", heavy=True),
    Stored("charges", CHARGES, default="'[]'"),
    Stored("mixture", BLEND, nullable=True),
    Stored("key_name", TEXT, nullable=True),
    Stored("generations", MAPPING, default="'{}'"),
    Stored("reference", PROMPT, nullable=True),
    Stored("keep", KEEP, nullable=True),
    Stored("baseline", TEXT, nullable=True),
    Stored("promise", PROMISE, nullable=True),
    Stored("own_probability", OWN_VECTOR, nullable=True),
    Stored("release", RELEASE, nullable=True),
    *[
        Stored(name, TEXT, f"origin.{name}", nullable=True)
        for name in (
            "request_id",
            "trace_id",
            "regenerated_from",
            "escalated_from",
            "task_id",
            "parent_decision_id",
        )
    ],
)
HEAVY: Final = frozenset(one.name for one in RECORD if one.heavy)
_VECTORS: Final = tuple(one.name for one in RECORD if one.kind is VECTOR)
ARROW_TYPES: Final = {one.name: one.kind.arrow for one in RECORD}

_plain: Final = tuple(one for one in RECORD if one.kind.pack is _same)
_packed: Final = tuple(one for one in RECORD if one.kind.pack is not _same)
ROW_COLUMNS: Final = tuple(one.name for one in (*_plain, *_packed))
"""The order of the values in a row to be inserted: first what is stored as it is, which is read at once."""

_plain_fields: Final = attrgetter(*(one.field or one.name for one in _plain))
_packed_fields: Final = attrgetter(*(one.field or one.name for one in _packed))
_packs: Final = tuple(one.kind.pack for one in _packed)
_shown: Final = {one.name: one.kind.show for one in RECORD if one.kind.show is not _same}
# Charges and the mixture are of the moment of the decision; who is answered again needs neither.
_loaded: Final = {
    one.name: one.kind.load
    for one in RECORD
    if "." not in one.field and one.name not in {"charges", "mixture", "predicted_cost_usd"}
}


def rows_of(decisions: Sequence[Decision]) -> list[tuple[Any, ...]]:
    """Each decision's values in the order of ``ROW_COLUMNS``; packed column by column, which costs a third."""
    fields = zip(*map(_packed_fields, decisions), strict=True)  # of each column all values
    packed = zip(*map(map, _packs, fields), strict=True)
    return list(map(add, map(_plain_fields, decisions), packed))


def shown(row: Mapping[Any, Any]) -> dict[str, object]:
    """A row as readers get it: plain values, lists and mappings. Columns that are not the decision's stay.

    Raises TypeError or ValueError for a damaged row.
    """
    found = {str(name): value for name, value in row.items()}  # SQLAlchemy's own names are slow to serialise
    for name, show in _shown.items():
        value = found.get(name)
        if value is not None:
            found[name] = show(value)
    _check(found)
    return found


def decision_of(row: Mapping[Any, Any]) -> Decision:
    """The decision again, without its charges and mixture. Raises TypeError or ValueError for a damaged row."""
    values: dict[str, Any] = {name: load(row[name]) for name, load in _loaded.items()}
    _check(values)
    context = Context(unpack_context(row["x"]), row["cluster"], unpack_mapping(row["facts"]))
    return Decision(context=context, **values)


def _check(values: Mapping[str, Any]) -> None:
    """A number for every arm in each vector, and the arm one of them."""
    arms = values["arms"]
    vectors = [values[name] for name in _VECTORS]
    own = values.get("own_probability")
    if own is not None:
        vectors.append(own)
    if values["arm"] not in arms or any(len(vector) != len(arms) for vector in vectors):
        raise ValueError("its vectors do not fit its arms")
