"""Comparisons: pairs of answers that wait for a judge, and what it has said of each."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Column, Double, Index, Integer, Table, UniqueConstraint

from banditd.storage.schema.columns import (
    claim_columns,
    dependent_key,
    metadata,
    text_column,
    text_columns,
    time_column,
)

comparison_task: Final = Table(
    "comparison_task",
    metadata,
    text_column("task_id", primary_key=True),
    dependent_key(primary_key=False),
    *text_columns("judge", "policy", "arm", "served_arm"),
    Column("probability", Double, nullable=False),
    *text_columns("question", "served_answer", "answer"),
    time_column("created_at_us"),
    time_column("expires_at_us"),
    *claim_columns(),
    UniqueConstraint("decision_id", "judge", "arm"),
    Index(None, "judge", "due_at_us"),
)

comparison: Final = Table(
    "comparison",
    metadata,
    dependent_key(),
    *text_columns("judge", "arm", primary_key=True),
    *text_columns("served_arm", "version", "policy"),
    Column("probability", Double, nullable=False),
    # baseline, served, same or inconsistent.
    text_column("outcome"),
    Column("cost_usd", Double, nullable=False),
    time_column("compared_at_us"),
    # Null of comparisons that are older than these columns: the task that it was, what was said with either answer
    # first (first, second or same), and the lengths of the answers as they were compared, in characters.
    *text_columns("task_id", "served_first", "baseline_first", nullable=True),
    Column("served_chars", Integer, nullable=True),
    Column("answer_chars", Integer, nullable=True),
    Index(None, "judge", "version", "compared_at_us"),
    Index(None, "task_id"),
)
