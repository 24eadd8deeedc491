"""Raising the counters that the reports read: roll-ups, totals per arm, statistics per cluster.

A transaction collects its increments here and writes each touched row once, in key order (so that two
replicas never wait for each other in a circle). What belongs to tagged queries is also written down as an entry that
``tag_counters.py`` counts by tag later. Reading is ``reports.py``'s.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from typing import Final

from sqlalchemy import Connection, Engine, insert

from banditd.core.types import MICROSECONDS_PER_SECOND
from banditd.storage import dialect
from banditd.storage.prepared import Prepared
from banditd.storage.schema import arm_total, cluster_stat, rollup, row_count, tag_entry

BUCKET_S: Final = 300
_BUCKET_US: Final = BUCKET_S * MICROSECONDS_PER_SECOND
Tags = tuple[tuple[str, str], ...]
"""(name, value) of every tag of a query, in the order of the names."""

_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False, default=float).encode
_INSERT: Final = insert(tag_entry)


def bucket_of(created_at_us: int) -> int:
    """Start of the five-minute bucket of a decision made then."""
    return created_at_us - created_at_us % _BUCKET_US


def tags_of(tags: Mapping[str, str]) -> Tags:
    return tuple(sorted(tags.items())) if tags else ()


class SumWriter:
    """Adds vectors over ``columns`` to roll-ups and arm totals, and over ``cluster_columns`` to clusters.

    kind : of the entries for tags (``schema.tag_entry``).
    """

    def __init__(
        self, engine: Engine, writer: str, columns: Sequence[str], cluster_columns: Sequence[str], *, kind: str
    ) -> None:
        self.writer = writer
        self._kind = kind
        self._names = list(columns), list(cluster_columns)
        self._tagged = Prepared(engine, _INSERT, ("entry_id", "policy", "kind", "sums"))
        self.width = len(columns)
        self.cluster_width = len(cluster_columns)
        self._rollup = Prepared(
            engine,
            dialect.add_up(engine, rollup, columns),
            ("policy", "bucket_at_us", "bucket_s", "arm", "writer", *columns),
        )
        self._total = Prepared(
            engine, dialect.add_up(engine, arm_total, columns), ("policy", "arm", "writer", *columns)
        )
        self._cluster = Prepared(
            engine,
            dialect.add_up(engine, cluster_stat, cluster_columns),
            ("policy", "schema_hash", "cluster", "arm", "writer", *cluster_columns),
        )

    def start(self) -> Increments:
        return Increments(self.width, self.cluster_width)

    def flush(self, connection: Connection, increments: Increments) -> None:
        """Write what was collected."""
        self.insert_tags(connection, self.tag_rows(increments))
        increments = increments.total()
        writer = self.writer
        totals: dict[tuple[str, str], list[float]] = {}
        rows = []
        for (policy, bucket, arm), sums in sorted(increments.buckets.items()):
            rows.append((policy, bucket, BUCKET_S, arm, writer, *sums))
            total = totals.get((policy, arm))
            totals[policy, arm] = sums if total is None else [a + b for a, b in zip(total, sums, strict=True)]
        self._rollup.run(connection, rows)
        self._total.run(connection, [(*key, writer, *sums) for key, sums in sorted(totals.items())])
        self._cluster.run(connection, [(*key, writer, *sums) for key, sums in sorted(increments.clusters.items())])

    def tag_rows(self, increments: Increments) -> list[tuple[str, ...]]:
        """What belongs to tagged queries, to be written down: one entry a policy, which a job counts later."""
        by_policy: dict[str, list[object]] = {}
        for (policy, bucket_at_us, tags), part in increments.tagged.items():
            arms = [[arm, *sums] for (_, _, arm), sums in part.buckets.items()]
            clusters = [[*key[1:], *sums] for key, sums in part.clusters.items()]
            by_policy.setdefault(policy, []).append([tags, bucket_at_us, arms, clusters])
        columns, cluster_columns = self._names
        return [
            (
                secrets.token_hex(16),  # no id of that old time: ids rise
                policy,
                self._kind,
                _encode({"columns": columns, "cluster_columns": cluster_columns, "groups": groups}),
            )
            for policy, groups in sorted(by_policy.items())
        ]

    def insert_tags(self, connection: Connection, rows: Sequence[tuple[str, ...]]) -> None:
        """Write down what ``tag_rows`` made."""
        self._tagged.run(connection, rows)


class Increments:
    """Increments of one transaction, collected by row. Those of tagged queries stand in ``tagged``, not beside it."""

    __slots__ = ("_cluster_width", "_width", "buckets", "clusters", "tagged")

    def __init__(self, width: int, cluster_width: int) -> None:
        self._width = width
        self._cluster_width = cluster_width
        self.tagged: dict[tuple[str, int, Tags], Increments] = {}
        self.buckets: dict[tuple[str, int, str], list[float]] = {}
        self.clusters: dict[tuple[str, str, int, str], list[float]] = {}

    def of(self, policy: str, bucket_at_us: int, tags: Tags) -> Increments:
        """Where to collect what belongs to queries of these tags and this bucket."""
        if not tags:
            return self
        key = (policy, bucket_at_us, tags)
        part = self.tagged.get(key)
        if part is None:
            part = self.tagged[key] = Increments(self._width, self._cluster_width)
        return part

    def total(self) -> Increments:
        """The same with nothing apart."""
        if not self.tagged:
            return self
        total = Increments(self._width, self._cluster_width)
        for part in (self, *self.tagged.values()):
            for row, sums in part.buckets.items():
                _raise(total.bucket(*row), sums)
            for place, sums in part.clusters.items():
                _raise(total.cluster(*place), sums)
        return total

    def bucket(self, policy: str, bucket_at_us: int, arm: str) -> list[float]:
        """The sums of that row, to be raised in place."""
        key = (policy, bucket_at_us, arm)
        sums = self.buckets.get(key)
        if sums is None:
            sums = self.buckets[key] = [0] * self._width
        return sums

    def cluster(self, policy: str, schema_hash: str, cluster: int, arm: str) -> list[float]:
        key = (policy, schema_hash, cluster, arm)
        sums = self.clusters.get(key)
        if sums is None:
            sums = self.clusters[key] = [0] * self._cluster_width
        return sums


def _raise(sums: list[float], by: Sequence[float]) -> None:
    for i, value in enumerate(by):
        sums[i] += value


class RowCounter:
    """Counts rows of the log as they come and go, so that nobody ever counts them by a scan."""

    def __init__(self, engine: Engine, writer: str) -> None:
        self._writer = writer
        self._statement = Prepared(engine, dialect.add_up(engine, row_count, ("rows",)), ("name", "writer", "rows"))

    def add(self, connection: Connection, name: str, rows: int) -> None:
        if rows:
            self._statement.run(connection, [(name, self._writer, rows)])
