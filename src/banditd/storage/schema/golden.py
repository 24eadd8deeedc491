"""Golden sets: the cases of the last days, and what all days have shown of each arm."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, Double, Index, Integer, Table, false, text

from banditd.storage.schema.columns import metadata, text_column, text_columns, time_column

# The answer is deleted when it is scored; the row some days after its day was counted.
golden_case: Final = Table(
    "golden_case",
    metadata,
    text_column("policy", primary_key=True),
    Column("day", Integer, primary_key=True, autoincrement=False),
    *text_columns("arm", "prompt_id", primary_key=True),
    text_column("version"),
    Column("position", Integer, nullable=False),
    text_column("state"),
    text_column("answer", nullable=True),
    Column("score", Double, nullable=True),
    Column("reserve_usd", Double, nullable=False),
    Column("cost_usd", Double, nullable=False, server_default=text("0")),
    # When it may be claimed: from the first, or after a pause; of a claimed one, when the claim runs out.
    time_column("due_at_us"),
    time_column("claimed_at_us", nullable=True),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    text_column("lease", nullable=True),
    Column("counted", Boolean, nullable=False, server_default=false()),
    Index(None, "policy", "state", "due_at_us"),
)

golden_watch: Final = Table(
    "golden_watch",
    metadata,
    *text_columns("policy", "arm", primary_key=True),
    *text_columns("version", "test"),
    Column("alarm_day", BigInteger, nullable=True),
    time_column("updated_at_us"),
)
