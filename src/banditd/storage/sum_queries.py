"""Queries of the counters that reports are made of, composed once: that takes as long as reading many a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    BigInteger,
    BindParameter,
    ColumnElement,
    Connection,
    Select,
    Table,
    bindparam,
    cast,
    func,
    or_,
    select,
)

from banditd.core.generations import shown_as
from banditd.core.types import MICROSECONDS_PER_SECOND
from banditd.ports.reading import Period
from banditd.storage.arms import present_generations
from banditd.storage.schema import decision

Rows = list[Mapping[str, float | str]]
_NEWEST: Final = (
    select(decision.c.schema_hash)
    .where(decision.c.policy == bindparam("policy"))
    .order_by(decision.c.decision_id.desc())
    .limit(1)
)


@dataclass(frozen=True, slots=True)
class Scope:
    """Which rows of a table of counters, but for the values that every run of a query is given.

    equal : columns that have one value. named : whether the values of the tag are given. since, until : whether the
    period has this end. longest_s : of a bucket, where one that begins before the period counts if it ends in it;
    else 0. drawn : of arms that were drawn alone.
    """

    table: Table
    equal: tuple[str, ...]
    named: bool = False
    since: bool = False
    until: bool = False
    longest_s: int = 0
    drawn: bool = False

    def conditions(self) -> list[ColumnElement[bool]]:
        """Buckets that begin before the period's end; from its beginning see ``longest_s``. They count whole."""
        c = self.table.c
        found: list[ColumnElement[bool]] = [c[name] == bindparam(name) for name in self.equal]
        if self.drawn:
            found.append(c.decisions > 0)
        if self.named:
            found.append(c.value.in_(bindparam("values", expanding=True)))
        if self.since:
            found.append(c.bucket_at_us > _time("after_us"))
        if self.since and self.longest_s:
            ends_us = c.bucket_at_us + cast(c.bucket_s, BigInteger) * MICROSECONDS_PER_SECOND
            # Of most buckets their beginning says enough, and where they end is not worked out.
            found.append(or_(c.bucket_at_us >= _time("since_us"), ends_us > _time("since_us")))
        if self.until:
            found.append(c.bucket_at_us < _time("until_us"))
        return found


class Selection(NamedTuple):
    """A scope with its values."""

    scope: Scope
    values: Mapping[str, object]

    def of(self, **equal: object) -> Selection:
        """Those of its rows that have these values."""
        return Selection(replace(self.scope, equal=(*self.scope.equal, *equal)), {**self.values, **equal})

    def among(self, values: Sequence[str]) -> Selection:
        """Those of these values of a tag."""
        return Selection(replace(self.scope, named=True), {**self.values, "values": list(values)})


def selection(
    table: Table, equal: Mapping[str, object], period: Period = (None, None), *, longest_s: int = 0
) -> Selection:
    """The rows of a period that have these values."""
    since_us, until_us = period
    values = dict(equal)
    if since_us is not None:
        after_us = since_us - longest_s * MICROSECONDS_PER_SECOND if longest_s else since_us - 1
        values |= {"since_us": since_us, "after_us": after_us}
    if until_us is not None:
        values["until_us"] = until_us
    scope = Scope(table, tuple(equal), since=since_us is not None, until=until_us is not None, longest_s=longest_s)
    return Selection(scope, values)


def in_steps(table: Table, equal: Mapping[str, object], *, since_us: int, until_us: int, step_s: int) -> Selection:
    """The rows of whole steps, for ``summed`` by ``STEP``. Coarser buckets count at their beginning."""
    step_us = step_s * MICROSECONDS_PER_SECOND
    found = selection(table, equal, (since_us - since_us % step_us, until_us))
    return Selection(found.scope, {**found.values, "step_us": step_us})


STEP: Final = "bucket_at_us"
"""Grouped by, it is the beginning of the step that a bucket is in."""


@lru_cache(maxsize=128)  # of few scopes and sets of columns
def summed(scope: Scope, sums: tuple[str, ...], by: tuple[str, ...] = ()) -> Select[Any]:
    """The sum of each of these columns under its name, over writers and buckets, grouped and ordered by columns."""
    c = scope.table.c
    groups = [_start(scope.table) if name == STEP else c[name] for name in by]
    query = select(*(func.sum(c[name]).label(name) for name in sums), *groups).where(*scope.conditions())
    return query.group_by(*groups).order_by(*groups) if groups else query


def read_rows(
    connection: Connection, rows: Selection, sums: Sequence[str], by: tuple[str, ...], integers: Sequence[str]
) -> Rows:
    """Sums by arm and whatever else; arms as they are shown."""
    present = present_generations(connection, str(rows.values["policy"]))
    found = connection.execute(summed(rows.scope, tuple(sums), by), rows.values)
    names, whole = [*sums, *by], frozenset(integers)
    places = [place for place, name in enumerate(names) if name in whole]
    read: Rows = []
    for values in found:
        row: dict[str, Any] = dict(zip(names, values, strict=True))
        for place in places:
            row[names[place]] = int(values[place])  # PostgreSQL sums bigints as decimals
        if "arm" in row:
            row["arm"] = shown_as(row["arm"], present)
        read.append(row)
    return read


def newest_schema(connection: Connection, policy: str) -> str | None:
    """The hash of the feature schema that made the policy's newest decision."""
    return connection.execute(_NEWEST, {"policy": policy}).scalar()


def _start(table: Table) -> ColumnElement[Any]:
    bucket = table.c.bucket_at_us
    return (bucket - bucket % _time("step_us")).label(STEP)


def _time(name: str) -> BindParameter[int]:
    return bindparam(name, type_=BigInteger)
