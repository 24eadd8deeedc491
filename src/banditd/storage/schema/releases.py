"""Releases and anchors: how each stands, its history, which units were counted, and what was promoted."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, Double, Index, Integer, LargeBinary, Table, UniqueConstraint, text

from banditd.storage.schema.columns import metadata, text_column, text_columns, time_column

policy_release: Final = Table(
    "policy_release",
    metadata,
    text_column("release_id", primary_key=True),
    text_column("policy"),
    # The policy while the release is open, else null: so there is one open release of a policy at most.
    text_column("open_policy", nullable=True),
    *text_columns("candidate", "terms", "tests", "phase"),
    Column("step", Integer, nullable=False),
    Column("due", Boolean, nullable=False, server_default=text("false")),
    *text_columns("reason", "key_name", nullable=True),
    time_column("created_at_us"),
    time_column("step_at_us"),
    time_column("ended_at_us", nullable=True),
    UniqueConstraint("open_policy"),
    Index(None, "policy", "release_id"),
)

release_event: Final = Table(
    "release_event",
    metadata,
    text_column("release_id", primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    text_column("event"),
    Column("step", Integer, nullable=False),
    Column("share", Double, nullable=False),
    *text_columns("reason", "key_name", nullable=True),
    time_column("at_us"),
)

# How a release stood, now and then: at most 200 of one.
release_point: Final = Table(
    "release_point",
    metadata,
    text_column("release_id", primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    time_column("at_us"),
    Column("step", Integer, nullable=False),
    Column("share", Double, nullable=False),
    Column("differs", Double, nullable=True),
    text_column("measures"),
)

# Units that an open release has counted, by kind of outcome: the applied-mark of its tests.
release_unit: Final = Table(
    "release_unit",
    metadata,
    *text_columns("release_id", "measure", "unit", primary_key=True),
    text_column("decision_id"),
    # What waits until the decision is old enough; null once it is counted.
    text_column("held", nullable=True),
    time_column("decided_at_us", nullable=True),
    Index(None, "release_id", "decision_id"),
)

# What was promoted, oldest first, each with what it replaced of the arms: the way back.
policy_promotion: Final = Table(
    "policy_promotion",
    metadata,
    text_column("policy", primary_key=True),
    text_column("promoted"),
    time_column("updated_at_us"),
)


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
