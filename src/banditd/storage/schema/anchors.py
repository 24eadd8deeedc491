"""Anchors: one frozen state a policy, and who has taken it."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Integer, LargeBinary, Table

from banditd.storage.schema.columns import metadata, text_column, text_columns, time_column

policy_anchor: Final = Table(
    "policy_anchor",
    metadata,
    text_column("policy", primary_key=True),
    *text_columns("anchor_id", "schema_hash"),
    Column("version", BigInteger, nullable=False),
    *text_columns("hyperparameters", "learner", "frozen"),
    Column("segments", Integer, nullable=False),
    *text_columns("promotion", "reason", "key_name", nullable=True),
    time_column("taken_at_us"),
    text_column("test"),
    Column("alarm_day", BigInteger, nullable=True),
)

# Never written again: what the segments of the learner were when the anchor was taken.
anchor_segment: Final = Table(
    "anchor_segment",
    metadata,
    *text_columns("anchor_id", "arm", primary_key=True),
    Column("epoch", BigInteger, primary_key=True, autoincrement=False),
    Column("sums", LargeBinary, nullable=False),
)

anchor_event: Final = Table(
    "anchor_event",
    metadata,
    text_column("policy", primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    *text_columns("event", "anchor_id"),
    *text_columns("reason", "key_name", nullable=True),
    time_column("at_us"),
)
