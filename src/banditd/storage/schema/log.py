"""The log: decisions, requests, activations, rewards, usage, sessions, and what of it is in an archive."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from banditd.storage.schema.columns import (
    decision_key,
    dependent_key,
    metadata,
    text_column,
    text_columns,
    time_column,
)
from banditd.storage.schema.record import RECORD


def _where_given(table: str, column: str, *indexed: str, name: str | None = None) -> Index:
    """An index of a column (or of those ``indexed``) over the rows that have a value in it, which most have not."""
    given, columns = text(f"{column} IS NOT NULL"), indexed or (column,)
    return Index(name or "_".join(("ix", table, *columns)), *columns, sqlite_where=given, postgresql_where=given)


decision: Final = Table(
    "decision",
    metadata,
    *[one.column() for one in RECORD],
    Column("checksum", BigInteger),  # storage/checksum.py; null in rows of older releases
    Index(None, "policy", "decision_id"),
    Index(None, "policy", "arm", "decision_id"),
    Index(None, "policy", "expires_at_us"),
    _where_given("decision", "session_id", "policy", "session_id", "decision_id"),
    _where_given("decision", "reference", "reference", "key_name", "decision_id"),
    _where_given("decision", "task_id", "task_id", "decision_id"),
    *[_where_given("decision", name) for name in ("request_id", "trace_id", "regenerated_from", "escalated_from")],
)

activation: Final = Table(
    "activation",
    metadata,
    decision_key(primary_key=True),
    text_column("policy"),
    time_column("activated_at_us"),
    Index(None, "policy", "activated_at_us"),
)

abandonment: Final = Table(
    "abandonment",
    metadata,
    decision_key(primary_key=True),
    text_column("policy"),
    time_column("abandoned_at_us"),
)


def _reward_columns() -> list[Column[Any]]:
    """What is kept of a reward, whichever arm's it is."""
    return [
        text_column("identity"),
        Column("revision", Integer, nullable=False),
        Column("keyed", Boolean, nullable=False),
        *text_columns("kind", "status", "metric", "source"),
        Column("value", Double),
        Column("reward", Double),
        Column("noise_variance", Double, nullable=False),
        Column("late", Boolean, nullable=False),
        *text_columns("metadata", "body_hash"),
        time_column("received_at_us"),
    ]


reward_event: Final = Table(
    "reward_event",
    metadata,
    text_column("reward_id", primary_key=True),
    decision_key(),
    text_column("policy"),
    *_reward_columns(),
    # The arm that it named, which served when it came; null where none was named.
    text_column("arm", nullable=True),
    UniqueConstraint("identity", "revision"),
    Index(None, "decision_id"),
)

# Rewards of arms that did not serve (decision 0027). A table of its own: an older replica does not see it.
arm_reward: Final = Table(
    "arm_reward",
    metadata,
    text_column("reward_id", primary_key=True),
    dependent_key(primary_key=False),
    *text_columns("policy", "arm"),
    *_reward_columns(),
    UniqueConstraint("identity", "revision"),
    Index(None, "decision_id"),
)

usage_report: Final = Table(
    "usage_report",
    metadata,
    decision_key(primary_key=True),
    *text_columns("policy", "arm"),
    text_column("served_arm", nullable=True),
    Column("input_tokens", BigInteger),
    Column("output_tokens", BigInteger),
    Column("cost_usd", Double),
    Column("latency_ms", Double),
    *text_columns("error", "finish_reason", nullable=True),
    Column("estimated", Boolean, nullable=False),
    text_column("body_hash"),
    time_column("received_at_us"),
    Column("cached_input_tokens", BigInteger),
    Column("revision", Integer, nullable=False, server_default=text("0")),
    # Dollars that a client told of the answer; null where they are those of its tokens.
    Column("told_cost_usd", Double),
    # Part of ``cost_usd``: what attempts beside the answer cost. Null is 0.
    Column("attempts_usd", Double),
    # What the upstream called its answer.
    text_column("response_id", nullable=True),
    Column("refusal", Boolean),
    Column("output_chars", BigInteger),
    *text_columns("regenerated_from", "escalated_to", nullable=True),
    Index(None, "policy", "decision_id"),
    *[_where_given("usage_report", name) for name in ("regenerated_from", "escalated_to", "response_id")],
    _where_given("usage_report", "escalated_to", "decision_id", name="ix_usage_report_decision_id_escalated"),
)

# What a report said before a later one completed or corrected it.
usage_revision: Final = Table(
    "usage_revision",
    metadata,
    dependent_key(),
    Column("revision", Integer, primary_key=True, autoincrement=False),
    text_column("policy"),
    Column("cost_usd", Double),
    text_column("report"),
    time_column("received_at_us"),
)

# Every call of an upstream that a decision took, where its usage report tells of them.
attempt: Final = Table(
    "attempt",
    metadata,
    dependent_key(),
    Column("ordinal", Integer, primary_key=True, autoincrement=False),
    *text_columns("policy", "arm"),
    text_column("error", nullable=True),
    Column("latency_ms", Double),
    Column("input_tokens", BigInteger),
    Column("output_tokens", BigInteger),
    Column("cached_input_tokens", BigInteger),
    Column("cost_usd", Double),
    Column("told_cost_usd", Double),
    Column("retry_after_s", Double),
    Column("first_token_ms", Double),
    # The recipe in whose run it was made; null: the arm was called for itself.
    text_column("recipe", nullable=True),
)

session: Final = Table(
    "session",
    metadata,
    *text_columns("policy", "session_id", primary_key=True),
    *text_columns("arm", "decision_id"),
    time_column("updated_at_us"),
    Index(None, "updated_at_us"),
)

idempotency_key: Final = Table(
    "idempotency_key",
    metadata,
    *text_columns("policy", "key_name", "operation", "idempotency_key", primary_key=True),
    Column("item", Integer, primary_key=True, autoincrement=False),
    text_column("request_hash"),
    *text_columns("decision_id", "answer", nullable=True),
    time_column("created_at_us"),
    Index(None, "created_at_us"),
    sqlite_with_rowid=False,
)


# Decisions with after_id < id <= last_id, with all that hangs on them; the files are named after last_id and
# archived_at_us.
archived_part: Final = Table(
    "archived_part",
    metadata,
    text_column("last_id", primary_key=True),
    text_column("after_id"),
    text_column("tables"),  # JSON: name of a table -> rows
    Column("decisions", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    text_column("revision"),
    time_column("archived_at_us"),
)

# A view: one row per decision with everything that belongs to its request, joined (migrations 0030 and 0037). It is
# an interface for readers outside, too: its columns stay, and further ones come behind.
request_log: Final = Table(
    "request_log",
    MetaData(),  # no table of ours: neither made, copied nor emptied with them
    *[
        Column(name, Text)
        for name in ("decision_id", "policy", "request_id", "trace_id", "session_id", "key_name", "arm", "served_arm")
    ],
    Column("created_at_us", BigInteger),
    *[Column(name, Text) for name in ("reason", "release_side", "error", "finish_reason")],
    *[Column(name, BigInteger) for name in ("input_tokens", "output_tokens", "output_chars")],
    *[Column(name, Double) for name in ("propensity", "cost_usd", "latency_ms")],
    *[Column(name, Boolean) for name in ("estimated", "refusal", "regenerated", "escalated")],
    *[Column(name, Text) for name in ("regenerated_from", "escalated_from", "escalated_to")],
    *[Column(name, Double) for name in ("reward", "reward_weight", "judged_score")],
    *[Column(name, Text) for name in ("task_id", "parent_decision_id")],
)
