"""Probes: calls that wait or were made, their answers while a judge has them, its verdicts, what they cost.

Tables of their own beside those of judges: an older replica would take a verdict on another arm's answer for one on
the answer that was served.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Double, Index, Integer, Table, UniqueConstraint, text

from banditd.storage.schema.columns import (
    dependent_key,
    metadata,
    sum_columns,
    text_column,
    text_columns,
    time_column,
)
from banditd.storage.schema.judging import answers_to_judge, verdicts_of_judges

# A row stays with its decision; the request is deleted when the call has ended or cannot be made.
probe: Final = Table(
    "probe",
    metadata,
    text_column("probe_id", primary_key=True),
    dependent_key(primary_key=False),
    *text_columns("judge", "policy", "arm"),
    Column("probability", Double, nullable=False),
    *text_columns("state", "surface"),
    *text_columns("body", "headers", "served_arm", "served_answer", nullable=True),
    Column("input_tokens", BigInteger, nullable=False),
    Column("reserve_usd", Double, nullable=False),
    Column("cost_usd", Double, nullable=False, server_default=text("0")),
    time_column("created_at_us"),
    time_column("expires_at_us"),
    # When it may be claimed: from the first, or after a pause; of a claimed one, when the claim runs out.
    time_column("due_at_us"),
    time_column("claimed_at_us", nullable=True),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    text_column("lease", nullable=True),
    UniqueConstraint("decision_id", "judge", "arm"),
    Index(None, "state", "judge", "due_at_us"),
)

probe_answer: Final = answers_to_judge("probe_answer", "decision_id", "judge", "arm")
probe_judgement: Final = verdicts_of_judges("probe_judgement", of_each_arm=True)

PROBE_COUNTS: Final = (
    "drawn", "dropped", "answered", "failed", "lost", "calls", "input_tokens", "output_tokens",
)  # fmt: skip
PROBE_SUMS: Final = (*PROBE_COUNTS, "cost_usd")

probe_account: Final = Table(
    "probe_account",
    metadata,
    *text_columns("judge", "policy", primary_key=True),
    Column("hour_at_us", BigInteger, primary_key=True, autoincrement=False),
    *sum_columns(PROBE_COUNTS, ("cost_usd",)),
)
