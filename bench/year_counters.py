"""The counters of a year of decisions, added up at once, in the buckets that the daemon's jobs leave behind."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from banditd.core.types import FloatArray, IntArray
from banditd.ports.tags import REST
from banditd.storage import maintenance, tag_upkeep
from banditd.storage.schema import CLUSTER_SUMS, SUMS
from banditd.storage.sums import BUCKET_S
from banditd.storage.tag_counters import TAG_BUCKET_S
from banditd.storage.tag_places import VALUES

ARMS: Final = ("tiny-general", "small-general", "medium-general", "code-specialist", "large-reasoner")
USD: Final = np.array([1e-4, 2e-4, 8e-4, 6e-4, 4e-3])
BASELINE: Final = len(ARMS) - 1
POLICY: Final = "default"
WRITER: Final = "bench"
# Tag -> how many values queries give it. With the places of the first, a thousand values have counters.
TAGS: Final = {"customer": 1000} | dict.fromkeys(
    ("app", "campaign", "device", "feature", "locale", "region", "team", "tenant", "version"), VALUES
)
_TYPES: Final = 4 * len(ARMS)  # of a decision, for the counters: arm, rewarded or not, explored or not


@dataclass(frozen=True, slots=True, eq=False)
class Year:
    """What was decided, by row: all (n,). tags : values by number, by tag."""

    at_us: IntArray
    arm: IntArray
    kind: IntArray
    cluster: IntArray
    rewarded: IntArray
    explored: IntArray
    tags: dict[str, IntArray]

    @property
    def type(self) -> IntArray:
        found: IntArray = (self.arm * 2 + self.rewarded) * 2 + self.explored
        return found


def insert_rows(connection: sqlite3.Connection, table: str, columns: str, rows: Iterator[tuple[object, ...]]) -> None:
    names = columns.split()
    marks = ",".join("?" * len(names))
    connection.executemany(f"INSERT INTO {table} ({','.join(map(quoted, names))}) VALUES ({marks})", rows)


def quoted(name: str) -> str:
    return f'"{name}"'


def write_counters(connection: sqlite3.Connection, year: Year, schema_hash: str) -> None:
    sums, cluster_sums = _sums_of_types(SUMS), _sums_of_types(CLUSTER_SUMS)
    bucket_us, bucket_s = _buckets(year.at_us, BUCKET_S, maintenance.STEPS)
    rows = _summed([bucket_us, bucket_s], year.type, sums)
    _insert_sums(connection, "rollup", ("policy", "bucket_at_us", "bucket_s", "arm", "writer"), SUMS, (
        (POLICY, *key, arm, WRITER, *values) for key, arm, values in rows
    ))  # fmt: skip
    nothing = np.zeros(year.at_us.size, dtype=np.int64)
    _insert_sums(connection, "arm_total", ("policy", "arm", "writer"), SUMS, (
        (POLICY, arm, WRITER, *values) for _, arm, values in _summed([nothing], year.type, sums)
    ))  # fmt: skip
    _insert_sums(connection, "cluster_stat", ("policy", "schema_hash", "cluster", "arm", "writer"), CLUSTER_SUMS, (
        (POLICY, schema_hash, *key, arm, WRITER, *values)
        for key, arm, values in _summed([year.cluster], year.type, cluster_sums, chosen=True)
    ))  # fmt: skip
    bucket_us, bucket_s = _buckets(year.at_us, TAG_BUCKET_S, tag_upkeep.STEPS)
    for tag, values in year.tags.items():
        _write_tag(connection, year, tag, np.where(values < VALUES, values, -1), (bucket_us, bucket_s), schema_hash)
    rewards = int(year.rewarded.sum())
    counted = {"decision": year.at_us.size, "reward_event": rewards, "usage_report": year.at_us.size}
    insert_rows(connection, "row_count", "name writer rows", ((name, WRITER, rows) for name, rows in counted.items()))


def _write_tag(
    connection: sqlite3.Connection,
    year: Year,
    tag: str,
    values: IntArray,
    buckets: tuple[IntArray, IntArray],
    schema_hash: str,
) -> None:
    def named(value: int) -> str:
        return REST if value < 0 else f"{tag}-{value}"

    sums, cluster_sums = _sums_of_types(SUMS), _sums_of_types(CLUSTER_SUMS)
    _insert_sums(
        connection, "tag_rollup", ("policy", "tag", "value", "bucket_at_us", "bucket_s", "arm"), SUMS, (
            (POLICY, tag, named(key[0]), *key[1:], arm, *row)
            for key, arm, row in _summed([values, *buckets], year.type, sums)
        ),
    )  # fmt: skip
    _insert_sums(connection, "tag_total", ("policy", "tag", "value", "arm"), SUMS, (
        (POLICY, tag, named(key[0]), arm, *row) for key, arm, row in _summed([values], year.type, sums)
    ))  # fmt: skip
    _insert_sums(
        connection, "tag_cluster", ("policy", "schema_hash", "tag", "value", "cluster", "arm"), CLUSTER_SUMS, (
            (POLICY, schema_hash, tag, named(key[0]), key[1], arm, *row)
            for key, arm, row in _summed([values, year.cluster], year.type, cluster_sums, chosen=True)
        ),
    )  # fmt: skip
    hour_us = int(year.at_us[-1]) // 3_600_000_000 * 3_600_000_000
    known, times = np.unique(values, return_counts=True)
    counted = dict(zip(known.tolist(), times.tolist(), strict=True))
    insert_rows(
        connection,
        "tag_value",
        "policy tag value decisions last_at_us",
        ((POLICY, tag, named(value), counted.get(value, 0), hour_us) for value in sorted({-1, *counted})),
    )


def _insert_sums(
    connection: sqlite3.Connection,
    table: str,
    keys: Sequence[str],
    sums: Sequence[str],
    rows: Iterator[tuple[object, ...]],
) -> None:
    insert_rows(connection, table, " ".join((*keys, *sums)), rows)


def _buckets(at_us: IntArray, finest_s: int, steps: Sequence[tuple[int, int, int]]) -> tuple[IntArray, IntArray]:
    """(start, size in seconds) of the bucket of each decision once the jobs have merged the old ones."""
    now_us = int(at_us[-1])
    size = np.full(at_us.size, finest_s, dtype=np.int64)
    for from_s, to_s, age_s in steps:
        edge_us = now_us - age_s * 1_000_000
        edge_us -= edge_us % (to_s * 1_000_000)
        size[(at_us < edge_us) & (size == from_s)] = to_s
    return at_us - at_us % (size * 1_000_000), size


def _summed(
    keys: Sequence[IntArray], types: IntArray, sums: FloatArray, *, chosen: bool = False
) -> Iterator[tuple[tuple[int, ...], str, list[float]]]:
    """(key, arm, sums) over decisions with equal keys. sums : (types, arms, sums). chosen : of drawn arms alone."""
    rows = np.stack(keys, axis=1)
    order = np.lexsort(rows.T[::-1])
    rows, types = rows[order], types[order]
    first = np.concatenate([[True], (rows[1:] != rows[:-1]).any(axis=1)])
    cell = np.cumsum(first) - 1
    found, counts = rows[first].tolist(), np.bincount(cell * _TYPES + types, minlength=(int(cell[-1]) + 1) * _TYPES)
    for key, of_types in zip(found, counts.reshape(-1, _TYPES), strict=True):
        drawn = of_types.reshape(len(ARMS), -1).sum(axis=1)
        added = np.tensordot(of_types, sums, axes=1)
        for arm, name in enumerate(ARMS):
            if drawn[arm] or not chosen:
                yield tuple(key), name, added[arm].tolist()


def _sums_of_types(names: Sequence[str]) -> FloatArray:
    """What a decision of each type adds to the sums of every arm, (types, arms, names)."""
    found = np.zeros((_TYPES, len(ARMS), len(names)))
    place = {name: i for i, name in enumerate(names)}
    for number in range(_TYPES):
        arm, rewarded, explored = number // 4, number // 2 % 2, number % 2
        for other in range(len(ARMS)):
            mine = other == arm
            for name, value in _added(
                arm, other, rewarded=bool(rewarded), explored=bool(explored), mine=mine
            ).items():
                if name in place:
                    found[number, other, place[name]] = value
    return found


def _added(arm: int, other: int, *, rewarded: bool, explored: bool, mine: bool) -> dict[str, float]:
    added: dict[str, float] = {
        "fixed_decisions": 1, "fixed_cost_usd": USD[other], "compared_decisions": 1, "compared_usd": USD[arm],
        "compared_fixed_usd": USD[other],
    }  # fmt: skip
    if rewarded:
        added |= {
            "supported_rewards": 1, "drawn_rewards": float(mine), "fixed_reward_sum": 0.7,
            "inverse_probability_sum": 5.0, "residual_power": 0.1 * mine,
        }  # fmt: skip
    if mine:
        added |= {
            "decisions": 1, "explored": float(explored), "greedy": float(not explored), "entropy_sum": 1.5,
            "predicted_spend_usd": USD[arm], "usage_reports": 1, "input_tokens": 60, "output_tokens": 200,
            "latency_reports": 1, "latency_ms_sum": 800.0, "spend_usd": USD[arm],
        }  # fmt: skip
    if mine and rewarded:
        added |= {"rewards": 1, "weight": 1.0, "weighted_reward": 0.7, "weighted_square": 0.5}
    return added
