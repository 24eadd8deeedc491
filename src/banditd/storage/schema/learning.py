"""What is learned and counted: the learner's state, and sums for reports."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    Table,
    UniqueConstraint,
    false,
)

from banditd.storage.schema.columns import (
    decision_key,
    dependent_key,
    metadata,
    sum_columns,
    text_column,
    text_columns,
    time_column,
)

INTEGER_SUMS: Final = (
    "decisions",
    "explored",
    "greedy",
    "fixed_decisions",
    "degraded",
    "rewards",
    "usage_reports",
    "input_tokens",
    "output_tokens",
    "latency_reports",
    "errors",
    "cached_input_tokens",
    "supported_rewards",
    "unsupported_rewards",
    "drawn_rewards",
    "compared_decisions",
    "tried_decisions",
)
FLOAT_SUMS: Final = (
    "entropy_sum",
    "predicted_spend_usd",
    "fixed_cost_usd",
    "weight",
    "weighted_reward",
    "weighted_square",
    "spend_usd",
    "latency_ms_sum",
    "fixed_reward_sum",
    "fixed_gain_sum",
    "inverse_probability_sum",
    "residual_power",
    "compared_usd",
    "compared_fixed_usd",
    "tried_usd",
    "tried_reward",
)
SUMS: Final = INTEGER_SUMS + FLOAT_SUMS
# What older replicas raise and read; nothing of this release does. They go when no such replica can be left.
_RETIRED_INTEGERS: Final = ("estimated_rewards",)
_RETIRED_FLOATS: Final = (
    "estimate_sum",
    "estimate_square",
    "difference_sum",
    "difference_square",
    "inverse_propensity_sum",
    "inverse_propensity_square",
)
CLUSTER_INTEGER_SUMS: Final = ("decisions", "rewards", "latency_reports")
CLUSTER_FLOAT_SUMS: Final = ("weight", "weighted_reward", "weighted_square", "spend_usd", "latency_ms_sum")
CLUSTER_SUMS: Final = CLUSTER_INTEGER_SUMS + CLUSTER_FLOAT_SUMS


# ---------------------------------------------------------------- learning

contribution: Final = Table(
    "contribution",
    metadata,
    decision_key(primary_key=True),
    *text_columns("policy", "arm"),
    Column("epoch", BigInteger, nullable=False),
    Column("weight", Double, nullable=False),
    Column("reward", Double, nullable=False),
    Column("estimated", Boolean, nullable=False, server_default=false()),  # of older replicas' sums
    # Whether it is in the sums of ``ope.fixed.FixedArmSums``; false in rows of older releases.
    Column("estimated_by_design", Boolean, nullable=False, server_default=false()),
    Index(None, "policy", "decision_id"),
)

# What a decision has put into the statistics of arms that did not serve it: of no report, of no estimate.
arm_contribution: Final = Table(
    "arm_contribution",
    metadata,
    dependent_key(),
    text_column("arm", primary_key=True),
    text_column("policy"),
    Column("epoch", BigInteger, nullable=False),
    Column("weight", Double, nullable=False),
    Column("reward", Double, nullable=False),
    Index(None, "policy", "decision_id"),
)

fold_queue: Final = Table(
    "fold_queue",
    metadata,
    text_column("queue_id", primary_key=True),
    text_column("policy"),  # rows that an older replica has set aside: "policy schema_hash"
    decision_key(),
    time_column("enqueued_at_us"),
    # Set where the row was set aside for a learner of that feature schema (decision 0017).
    text_column("schema_hash", nullable=True),
    Index(None, "policy", "schema_hash", "queue_id"),
    Index(None, "decision_id"),
)

# Decisions with new rewards of other arms. Apart: an older replica that leads would take the rows and fold nothing.
arm_fold_queue: Final = Table(
    "arm_fold_queue",
    metadata,
    text_column("queue_id", primary_key=True),
    text_column("policy"),
    dependent_key(primary_key=False),
    time_column("enqueued_at_us"),
    text_column("schema_hash", nullable=True),
    Index(None, "policy", "schema_hash", "queue_id"),
    Index(None, "decision_id"),
)

segment: Final = Table(
    "segment",
    metadata,
    *text_columns("policy", "schema_hash", "arm", primary_key=True),
    Column("epoch", BigInteger, primary_key=True, autoincrement=False),
    Column("sums", LargeBinary, nullable=False),
    Column("version", BigInteger, nullable=False),
    Index(None, "policy", "schema_hash", "version"),
)

learner_state: Final = Table(
    "learner_state",
    metadata,
    *text_columns("policy", "schema_hash", primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    *text_columns("hyperparameters", "learner"),
    time_column("updated_at_us"),
)

snapshot: Final = Table(
    "snapshot",
    metadata,
    *text_columns("policy", "schema_hash", primary_key=True),
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("epoch", BigInteger, nullable=False),
    *text_columns("hyperparameters", "learner"),
    Column("folded", Integer, nullable=False),
    time_column("created_at_us"),
)

# Which column of the context a value of a context tag has: never changed, never deleted.
context_value: Final = Table(
    "context_value",
    metadata,
    *text_columns("policy", "tag", "value", primary_key=True),
    Column("place", Integer, nullable=False),
    UniqueConstraint("policy", "tag", "place"),
)

# ---------------------------------------------------------------- sums for reports

sum_entry: Final = Table(
    "sum_entry",
    metadata,
    text_column("entry_id", primary_key=True),
    text_column("sums"),
    sqlite_with_rowid=False,
)

rollup: Final = Table(
    "rollup",
    metadata,
    text_column("policy", primary_key=True),
    time_column("bucket_at_us", primary_key=True, autoincrement=False),
    Column("bucket_s", Integer, primary_key=True, autoincrement=False),
    *text_columns("arm", "writer", primary_key=True),
    *sum_columns(INTEGER_SUMS + _RETIRED_INTEGERS, FLOAT_SUMS + _RETIRED_FLOATS),
    Index(None, "bucket_s", "bucket_at_us"),
    sqlite_with_rowid=False,
)

arm_total: Final = Table(
    "arm_total",
    metadata,
    *text_columns("policy", "arm", "writer", primary_key=True),
    *sum_columns(INTEGER_SUMS + _RETIRED_INTEGERS, FLOAT_SUMS + _RETIRED_FLOATS),
    sqlite_with_rowid=False,
)

cluster_stat: Final = Table(
    "cluster_stat",
    metadata,
    *text_columns("policy", "schema_hash", primary_key=True),
    Column("cluster", Integer, primary_key=True, autoincrement=False),
    *text_columns("arm", "writer", primary_key=True),
    *sum_columns(CLUSTER_INTEGER_SUMS, CLUSTER_FLOAT_SUMS),
    sqlite_with_rowid=False,
)

delay_count: Final = Table(
    "delay_count",
    metadata,
    text_column("policy", primary_key=True),
    Column("bin", Integer, primary_key=True, autoincrement=False),
    Column("rewards", BigInteger, nullable=False),
)

row_count: Final = Table(
    "row_count",
    metadata,
    *text_columns("name", "writer", primary_key=True),
    Column("rows", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
