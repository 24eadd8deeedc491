"""Counting by tag: entries of commits, folds and usage reports become rows, once each.

As in ``journal.py``: an entry that is there is not counted, one that is gone is, and both change in one transaction.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection, Engine, case, delete, select

from banditd.core.types import MICROSECONDS_PER_SECOND
from banditd.ports.tags import REST
from banditd.storage import dialect
from banditd.storage.engine import Database
from banditd.storage.entries import Entries
from banditd.storage.prepared import Prepared
from banditd.storage.schema import (
    CLUSTER_SUMS,
    SUMS,
    job_run,
    tag_cluster,
    tag_entry,
    tag_rollup,
    tag_total,
    tag_value,
)
from banditd.storage.tag_places import Places, lock_places

TAG_BUCKET_S: Final = 3600
_BUCKET_US: Final = TAG_BUCKET_S * MICROSECONDS_PER_SECOND
COUNTED_CURSOR: Final = "tags:counted_after_us"
"""Job cursor: decisions up to then were made before there were counters by tag, and are in none of them."""

_Key = tuple[Any, ...]


class TagCounters(Entries):
    """Adds up the entries of one database."""

    def __init__(self, database: Database) -> None:
        super().__init__(database, tag_entry)
        engine = database.engine
        self._values = Prepared(engine, _newest(engine), ("policy", "tag", "value", "decisions", "last_at_us"))
        self._writers = [
            (name, Prepared(engine, dialect.add_up(engine, table, sums), (*keys, *sums)))
            for name, table, keys, sums in (
                ("rollup", tag_rollup, ("policy", "tag", "value", "bucket_at_us", "bucket_s", "arm"), SUMS),
                ("total", tag_total, ("policy", "tag", "value", "arm"), SUMS),
                ("cluster", tag_cluster, ("policy", "schema_hash", "tag", "value", "cluster", "arm"), CLUSTER_SUMS),
            )
        ]

    def _count(self, connection: Connection, ids: list[str]) -> None:
        c = tag_entry.c
        entries = connection.execute(delete(tag_entry).where(c.entry_id.in_(ids)).returning(c.policy, c.sums)).all()
        cursor = select(job_run.c.cursor).where(job_run.c.job == COUNTED_CURSOR)
        counted_after_us = connection.execute(cursor).scalar() or 0
        places = lock_places(connection, self._database.engine, {entry.policy for entry in entries})
        sums = _Sums(places)
        for entry in entries:
            sums.add(entry, counted_after_us)
        self._write(connection, sums)

    def _write(self, connection: Connection, sums: _Sums) -> None:
        self._values.run(connection, [(*key, *row) for key, row in sorted(sums.values.items())])
        for name, writer in self._writers:
            writer.run(connection, [(*key, *row) for key, row in sorted(sums.rows[name].items())])


class _Sums:
    """What entries add to every table, by key."""

    def __init__(self, places: Mapping[str, Places]) -> None:
        self._places = places
        self.values: dict[tuple[str, str, str], list[int]] = {}
        self.rows: dict[str, dict[_Key, list[float]]] = {"rollup": {}, "total": {}, "cluster": {}}

    def add(self, entry: Any, counted_after_us: int) -> None:
        policy = entry.policy
        named = json.loads(entry.sums)
        columns = _places_of(SUMS, named["columns"])
        cluster_columns = _places_of(CLUSTER_SUMS, named["cluster_columns"])
        decisions = named["columns"].index("decisions") if "decisions" in named["columns"] else None
        for tags, bucket_at_us, arms, clusters in named["groups"]:
            if bucket_at_us <= counted_after_us:
                continue
            hour_us = bucket_at_us - bucket_at_us % _BUCKET_US
            made = 0 if decisions is None else sum(int(row[1 + decisions]) for row in arms)
            for tag, value in self._placed(policy, tags):
                self._seen(policy, tag, value, made, hour_us)
                for arm, *sums in arms:
                    bucket = (policy, tag, value, hour_us, TAG_BUCKET_S, arm)
                    _raise(self.rows["rollup"], bucket, columns, sums, len(SUMS))
                    _raise(self.rows["total"], (policy, tag, value, arm), columns, sums, len(SUMS))
                for schema_hash, cluster, arm, *sums in clusters:
                    key = (policy, schema_hash, tag, value, cluster, arm)
                    _raise(self.rows["cluster"], key, cluster_columns, sums, len(CLUSTER_SUMS))

    def _placed(self, policy: str, tags: Iterable[Sequence[str]]) -> list[tuple[str, str]]:
        places = self._places[policy]
        found = [(tag, places.find(tag, value)) for tag, value in tags]
        return [(tag, value) for tag, value in found if value is not None]

    def _seen(self, policy: str, tag: str, value: str, decisions: int, hour_us: int) -> None:
        for one in {value, REST}:  # the tag's own row is there from its first value on
            row = self.values.setdefault((policy, tag, one), [0, hour_us])
            row[0] += decisions if one == value else 0
            row[1] = max(row[1], hour_us)


def _newest(engine: Engine) -> Any:
    """A value of a tag with its decisions added, and the newest time at which it was seen."""
    statement = dialect.insert_into(engine, tag_value)
    c, new = tag_value.c, statement.excluded
    return statement.on_conflict_do_update(
        index_elements=list(tag_value.primary_key.columns),
        set_={
            "decisions": c.decisions + new.decisions,
            "last_at_us": case((c.last_at_us > new.last_at_us, c.last_at_us), else_=new.last_at_us),
        },
    )


def _places_of(columns: Sequence[str], named: Sequence[str]) -> list[int | None]:
    """Where each named sum stands among ``columns``; None for one that this release does not keep."""
    index = {name: place for place, name in enumerate(columns)}
    return [index.get(name) for name in named]


def _raise(
    rows: dict[_Key, list[float]], key: _Key, places: Sequence[int | None], sums: Sequence[float], width: int
) -> None:
    row = rows.get(key)
    if row is None:
        row = rows[key] = [0] * width
    for place, value in zip(places, sums, strict=True):
        if place is not None:
            row[place] += value
