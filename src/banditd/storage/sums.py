"""Raising the counters that the reports read: roll-ups, totals per arm, statistics per cluster.

A transaction collects its increments here and writes each touched row once, in key order (so that two
replicas never wait for each other in a circle). Reading them is ``reports.py``'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection, Engine

from banditd.core.types import MICROSECONDS_PER_SECOND
from banditd.storage import dialect
from banditd.storage.schema import arm_total, cluster_stat, rollup, row_count

BUCKET_S: Final = 300
_BUCKET_US: Final = BUCKET_S * MICROSECONDS_PER_SECOND


def bucket_of(created_at_us: int) -> int:
    """Start of the five-minute bucket of a decision made then."""
    return created_at_us - created_at_us % _BUCKET_US


class SumWriter:
    """Adds vectors over ``columns`` to roll-ups and arm totals, and over ``cluster_columns`` to clusters."""

    def __init__(self, engine: Engine, writer: str, columns: Sequence[str], cluster_columns: Sequence[str]) -> None:
        self.writer = writer
        self.width = len(columns)
        self.cluster_width = len(cluster_columns)
        self._rollup = dialect.Prepared(
            engine,
            dialect.add_up(engine, rollup, columns),
            ("policy", "bucket_at_us", "bucket_s", "arm", "writer", *columns),
        )
        self._total = dialect.Prepared(
            engine, dialect.add_up(engine, arm_total, columns), ("policy", "arm", "writer", *columns)
        )
        self._cluster = dialect.Prepared(
            engine,
            dialect.add_up(engine, cluster_stat, cluster_columns),
            ("policy", "schema_hash", "cluster", "arm", "writer", *cluster_columns),
        )

    def start(self) -> Increments:
        return Increments(self.width, self.cluster_width)

    def flush(self, connection: Connection, increments: Increments) -> None:
        """Write what was collected."""
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


class Increments:
    """Increments of one transaction, collected by row."""

    __slots__ = ("_cluster_width", "_width", "buckets", "clusters")

    def __init__(self, width: int, cluster_width: int) -> None:
        self._width = width
        self._cluster_width = cluster_width
        self.buckets: dict[tuple[str, int, str], list[float]] = {}
        self.clusters: dict[tuple[str, str, int, str], list[float]] = {}

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


class RowCounter:
    """Counts rows of the log as they come and go, so that nobody ever counts them by a scan."""

    def __init__(self, engine: Engine, writer: str) -> None:
        self._writer = writer
        self._statement = dialect.Prepared(
            engine, dialect.add_up(engine, row_count, ("rows",)), ("name", "writer", "rows")
        )

    def add(self, connection: Connection, name: str, rows: int) -> None:
        if rows:
            self._statement.run(connection, [(name, self._writer, rows)])
