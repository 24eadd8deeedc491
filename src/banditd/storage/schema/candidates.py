"""Candidates: named differences to policies, and what was found out about them."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from banditd.storage.schema.columns import dependent_key, metadata, text_column, text_columns, time_column

candidate: Final = Table(
    "candidate",
    metadata,
    text_column("candidate_id", primary_key=True),
    *text_columns("policy", "name"),
    # JSON of what differs; rows are never updated.
    *text_columns("settings", "arms"),
    time_column("created_at_us"),
    text_column("key_name", nullable=True),
    UniqueConstraint("policy", "name"),
)

# What is asked of the log about a candidate, and what was found. ``lease`` is of the replica that works on it.
evaluation: Final = Table(
    "evaluation",
    metadata,
    text_column("evaluation_id", primary_key=True),
    *text_columns("policy", "candidate", "question", "phase"),
    text_column("finding", nullable=True),
    Column("done", BigInteger, nullable=False, server_default=text("0")),
    Column("total", BigInteger, nullable=False, server_default=text("0")),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    time_column("created_at_us"),
    time_column("finished_at_us", nullable=True),
    *text_columns("key_name", "lease", nullable=True),
    time_column("leased_until_us"),
    Index(None, "policy", "evaluation_id"),
    Index(None, "phase", "leased_until_us"),
)

# Candidates that are shadowed, one row each: it begins anew under another id where a rule has changed.
candidate_shadow: Final = Table(
    "candidate_shadow",
    metadata,
    text_column("shadow_id", primary_key=True),
    Column("candidate_id", Text, ForeignKey("candidate.candidate_id", ondelete="CASCADE"), nullable=False),
    *text_columns("policy", "rule", "arms"),
    Column("rated", BigInteger, nullable=False, server_default=text("0")),
    time_column("first_us", nullable=True),
    time_column("last_us", nullable=True),
    time_column("started_at_us"),
    time_column("stopped_at_us", nullable=True),
    UniqueConstraint("candidate_id"),
    Index(None, "policy"),
)

# ``sums`` is packed float64; what they are depends on the part (core.shadow).
shadow_sum: Final = Table(
    "shadow_sum",
    metadata,
    Column("shadow_id", Text, ForeignKey("candidate_shadow.shadow_id", ondelete="CASCADE"), primary_key=True),
    text_column("part", primary_key=True),
    Column("sums", LargeBinary, nullable=False),
)

# What shadows would have drawn of a rewarded decision, and which of its rewards is in their sums.
shadow_decision: Final = Table(
    "shadow_decision",
    metadata,
    dependent_key(),
    text_column("policy"),
    Column("reward", Double, nullable=True),
    text_column("arms"),
    Column("drawn", Integer, nullable=False),
    Column("predicted", Double, nullable=False),
    text_column("parts"),
    Column("vectors", LargeBinary, nullable=False),
    Index(None, "policy"),
)
