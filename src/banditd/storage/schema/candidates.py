"""Candidates: named differences to policies, and what was found out about them."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Table, UniqueConstraint

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
