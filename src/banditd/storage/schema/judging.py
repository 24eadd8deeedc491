"""Judges: answers that wait to be judged, verdicts, what judging costs, judges that are refused."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Double, Index, Integer, Table, UniqueConstraint, text

from banditd.storage.schema.columns import dependent_key, metadata, sum_columns, text_column, time_column

# The only table that holds texts of clients without ``privacy.store_input``: rows go when they are judged.
judge_task: Final = Table(
    "judge_task",
    metadata,
    text_column("task_id", primary_key=True),
    dependent_key(primary_key=False),
    text_column("judge"),
    text_column("version"),
    text_column("policy"),
    text_column("arm"),
    Column("probability", Double, nullable=False),
    text_column("question"),
    text_column("answer"),
    time_column("created_at_us"),
    time_column("expires_at_us"),
    # When it may be claimed: from the first, after a pause, or when a claim has run out.
    time_column("due_at_us"),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    text_column("lease", nullable=True),
    UniqueConstraint("decision_id", "judge"),
    Index(None, "judge", "due_at_us"),
)

judgement: Final = Table(
    "judgement",
    metadata,
    dependent_key(),
    text_column("judge", primary_key=True),
    text_column("task_id"),
    text_column("version"),
    text_column("policy"),
    text_column("arm"),
    Column("probability", Double, nullable=False),
    Column("score", Double, nullable=False),
    text_column("reason"),
    Column("cost_usd", Double, nullable=False),
    time_column("judged_at_us"),
    text_column("reward"),
    Index(None, "judge", "reward", "decision_id"),
    Index(None, "judge", "version", "decision_id"),
    UniqueConstraint("task_id"),
)

JUDGE_COUNTS: Final = ("sampled", "dropped", "judged", "failed", "calls", "input_tokens", "output_tokens")
JUDGE_SUMS: Final = (*JUDGE_COUNTS, "cost_usd")

judge_account: Final = Table(
    "judge_account",
    metadata,
    text_column("judge", primary_key=True),
    text_column("policy", primary_key=True),
    Column("hour_at_us", BigInteger, primary_key=True, autoincrement=False),
    *sum_columns(JUDGE_COUNTS, ("cost_usd",)),
)

judge_refusal: Final = Table(
    "judge_refusal",
    metadata,
    text_column("judge", primary_key=True),
    text_column("version", primary_key=True),
    text_column("reason"),
    time_column("refused_at_us"),
)
