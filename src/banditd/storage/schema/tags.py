"""Counters by the tags of queries: entries that wait, values that have rows of their own, sums; names of clusters.

A value of ``""`` is everything of its tag that has no row of its own.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Index, Integer, Table, text

from banditd.storage.schema.columns import metadata, sum_columns, text_column, text_columns, time_column
from banditd.storage.schema.learning import CLUSTER_FLOAT_SUMS, CLUSTER_INTEGER_SUMS, FLOAT_SUMS, INTEGER_SUMS

tag_entry: Final = Table(
    "tag_entry",
    metadata,
    text_column("entry_id", primary_key=True),
    text_column("policy"),
    text_column("kind"),  # route, reward or usage: what a recount of rewards replaces
    text_column("sums"),
    sqlite_with_rowid=False,
)

# (policy, "", "") is locked by whoever counts the policy's tags; (policy, tag, "") is there for every tag.
tag_value: Final = Table(
    "tag_value",
    metadata,
    *text_columns("policy", "tag", "value", primary_key=True),
    Column("decisions", BigInteger, nullable=False, server_default=text("0")),
    # Start of the newest hour in which a decision had it.
    time_column("last_at_us"),
    sqlite_with_rowid=False,
)

tag_rollup: Final = Table(
    "tag_rollup",
    metadata,
    *text_columns("policy", "tag", "value", primary_key=True),
    time_column("bucket_at_us", primary_key=True, autoincrement=False),
    Column("bucket_s", Integer, primary_key=True, autoincrement=False),
    text_column("arm", primary_key=True),
    *sum_columns(INTEGER_SUMS, FLOAT_SUMS),
    Index(None, "bucket_s", "bucket_at_us"),
    sqlite_with_rowid=False,
)

tag_total: Final = Table(
    "tag_total",
    metadata,
    *text_columns("policy", "tag", "value", "arm", primary_key=True),
    *sum_columns(INTEGER_SUMS, FLOAT_SUMS),
    sqlite_with_rowid=False,
)

tag_cluster: Final = Table(
    "tag_cluster",
    metadata,
    *text_columns("policy", "schema_hash", "tag", "value", primary_key=True),
    Column("cluster", Integer, primary_key=True, autoincrement=False),
    text_column("arm", primary_key=True),
    *sum_columns(CLUSTER_INTEGER_SUMS, CLUSTER_FLOAT_SUMS),
    sqlite_with_rowid=False,
)

cluster_name: Final = Table(
    "cluster_name",
    metadata,
    *text_columns("policy", "maps", primary_key=True),
    Column("cluster", Integer, primary_key=True, autoincrement=False),
    text_column("name"),
    time_column("updated_at_us"),
    sqlite_with_rowid=False,
)
