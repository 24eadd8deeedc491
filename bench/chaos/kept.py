"""The database as it is at the end, in plain rows."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, LargeBinary, Table, create_engine, select

from banditd.storage.dialect import normalise_url
from banditd.storage.schema import metadata

Row = Mapping[str, Any]
Rows = Sequence[Row]


@dataclass(slots=True, kw_only=True)
class Kept:
    """Rows by table, without blobs; JSON columns are parsed.

    usage : by decision. queued : decisions that wait for the learner. limits : budgets as configured, by (policy,
    name): dollars per window, and what happens at the stop. read : what /v1 said at the end, by replica.
    """

    decisions: Rows = ()
    rewards: Rows = ()
    usage: Mapping[str, Row] = field(default_factory=dict)
    revisions: Rows = ()
    attempts: Rows = ()
    abandoned: Rows = ()
    contributions: Rows = ()
    accounts: Rows = ()
    corrections: Rows = ()
    rollups: Rows = ()
    arm_totals: Rows = ()
    clusters: Rows = ()
    row_counts: Rows = ()
    arms: Rows = ()
    prices: Rows = ()
    queued: Sequence[str] = ()
    limits: Mapping[tuple[str, str], tuple[float, str]] = field(default_factory=dict)
    read: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def read_kept(
    url: str, limits: Mapping[tuple[str, str], tuple[float, str]], read: Mapping[str, Mapping[str, Any]]
) -> Kept:
    engine = create_engine(normalise_url(url))
    try:
        with engine.connect() as connection:
            rows = {name: _rows(connection, table) for name, table in metadata.tables.items() if name in _READ}
    finally:
        engine.dispose()
    for row in rows["decision"]:
        row["tags"], row["charges"] = json.loads(row["tags"]), json.loads(row["charges"])
    for row in rows["reward_event"]:
        row["metadata"] = json.loads(row["metadata"])
    for row in rows["usage_revision"]:
        row["report"] = json.loads(row["report"])
    return Kept(
        decisions=rows["decision"],
        rewards=rows["reward_event"],
        usage={row["decision_id"]: row for row in rows["usage_report"]},
        revisions=rows["usage_revision"],
        attempts=rows["attempt"],
        abandoned=rows["abandonment"],
        contributions=rows["contribution"],
        accounts=rows["budget_account"],
        corrections=rows["budget_correction"],
        rollups=rows["rollup"],
        arm_totals=rows["arm_total"],
        clusters=rows["cluster_stat"],
        row_counts=rows["row_count"],
        arms=rows["arm"],
        prices=rows["arm_price"],
        queued=[row["decision_id"] for row in rows["fold_queue"]],
        limits=limits,
        read=read,
    )


_READ = {
    "decision",
    "reward_event",
    "usage_report",
    "usage_revision",
    "attempt",
    "abandonment",
    "contribution",
    "budget_account",
    "budget_correction",
    "rollup",
    "arm_total",
    "cluster_stat",
    "row_count",
    "arm",
    "arm_price",
    "fold_queue",
}


def _rows(connection: Connection, table: Table) -> list[dict[str, Any]]:
    columns = [column for column in table.columns if not isinstance(column.type, LargeBinary)]
    return [dict(row) for row in connection.execute(select(*columns)).mappings()]


def grouped(rows: Rows, *names: str) -> dict[Any, list[Row]]:
    """Rows by the values of these columns: by the value itself where it is one column."""
    groups: dict[Any, list[Row]] = defaultdict(list)
    for row in rows:
        groups[row[names[0]] if len(names) == 1 else tuple(row[name] for name in names)].append(row)
    return dict(groups)
