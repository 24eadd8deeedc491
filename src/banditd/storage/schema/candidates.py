"""Candidates: named differences to policies, and what was found out about them."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Index, Integer, Table, UniqueConstraint, text

from banditd.storage.schema.columns import metadata, text_column, time_column

candidate: Final = Table(
    "candidate",
    metadata,
    text_column("candidate_id", primary_key=True),
    text_column("policy"),
    text_column("name"),
    # JSON of what differs; rows are never updated.
    text_column("settings"),
    text_column("arms"),
    time_column("created_at_us"),
    text_column("key_name", nullable=True),
    UniqueConstraint("policy", "name"),
)

# What is asked of the log about a candidate, and what was found. ``lease`` is of the replica that works on it.
evaluation: Final = Table(
    "evaluation",
    metadata,
    text_column("evaluation_id", primary_key=True),
    text_column("policy"),
    text_column("candidate"),
    text_column("question"),
    text_column("phase"),
    text_column("finding", nullable=True),
    Column("done", BigInteger, nullable=False, server_default=text("0")),
    Column("total", BigInteger, nullable=False, server_default=text("0")),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    time_column("created_at_us"),
    time_column("finished_at_us", nullable=True),
    text_column("key_name", nullable=True),
    text_column("lease", nullable=True),
    time_column("leased_until_us"),
    Index(None, "policy", "evaluation_id"),
    Index(None, "phase", "leased_until_us"),
)
