"""The tables. Not the history of them: that is in ``migrations/``, and a test holds the two equal.

Every id is a UUIDv7 as text, every time is integer microseconds (``*_at_us``), vectors are little-endian
blobs and mappings JSON text, so that both databases store and compare the same values. Counters that many
replicas raise carry a ``writer``: each replica raises its own rows, readers add them up.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
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
)
SUMS: Final = INTEGER_SUMS + FLOAT_SUMS
CLUSTER_INTEGER_SUMS: Final = ("decisions", "rewards", "latency_reports")
CLUSTER_FLOAT_SUMS: Final = ("weight", "weighted_reward", "weighted_square", "spend_usd", "latency_ms_sum")
CLUSTER_SUMS: Final = CLUSTER_INTEGER_SUMS + CLUSTER_FLOAT_SUMS


def _text(name: str, **options: Any) -> Column[Any]:
    return Column(name, Text, nullable=options.pop("nullable", False), **options)


def _at(name: str, **options: Any) -> Column[Any]:
    return Column(name, BigInteger, nullable=options.pop("nullable", False), **options)


def _decision_key(**options: Any) -> Column[Any]:
    return Column("decision_id", Text, ForeignKey("decision.decision_id"), nullable=False, **options)


def _sums(integers: tuple[str, ...], floats: tuple[str, ...]) -> list[Column[Any]]:
    zero = text("0")
    return [Column(name, BigInteger, nullable=False, server_default=zero) for name in integers] + [
        Column(name, Double, nullable=False, server_default=zero) for name in floats
    ]


# ---------------------------------------------------------------- the log

decision: Final = Table(
    "decision",
    metadata,
    _text("decision_id", primary_key=True),
    _text("policy"),
    _text("policy_kind"),
    _at("created_at_us"),
    _at("expires_at_us"),
    _text("arm"),
    _text("upstream_model"),
    Column("propensity", Double, nullable=False),
    Column("uniform", Double, nullable=False),
    Column("explored", Boolean, nullable=False),
    _text("reason"),
    _text("degraded", nullable=True),
    _text("arms"),
    Column("probability", LargeBinary, nullable=False),
    Column("mean", LargeBinary, nullable=False),
    Column("deviation", LargeBinary, nullable=False),
    Column("cost_usd", LargeBinary, nullable=False),
    Column("penalty", LargeBinary, nullable=False),
    Column("predicted_cost_usd", Double, nullable=False),
    _text("exclusions"),
    Column("x", LargeBinary, nullable=False),
    Column("cluster", Integer, nullable=False),
    _text("schema_hash"),
    Column("snapshot_version", BigInteger, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("cost_weight", Double, nullable=False),
    Column("input_tokens", BigInteger, nullable=False),
    _text("input_hash", nullable=True),
    _text("input_text", nullable=True),
    _text("session_id", nullable=True),
    _text("tags"),
    Column("deferred", Boolean, nullable=False),
    _text("facts", server_default=text("'{}'")),
    Index(None, "policy", "decision_id"),
    Index(None, "policy", "arm", "decision_id"),
    Index(None, "policy", "expires_at_us"),
    Index(
        "ix_decision_policy_session_id_decision_id",
        "policy",
        "session_id",
        "decision_id",
        sqlite_where=text("session_id IS NOT NULL"),
        postgresql_where=text("session_id IS NOT NULL"),
    ),
)

activation: Final = Table(
    "activation", metadata, _decision_key(primary_key=True), _text("policy"), _at("activated_at_us")
)

reward_event: Final = Table(
    "reward_event",
    metadata,
    _text("reward_id", primary_key=True),
    _decision_key(),
    _text("policy"),
    _text("identity"),
    Column("revision", Integer, nullable=False),
    Column("keyed", Boolean, nullable=False),
    _text("kind"),
    _text("status"),
    _text("metric"),
    _text("source"),
    Column("value", Double),
    Column("reward", Double),
    Column("noise_variance", Double, nullable=False),
    Column("late", Boolean, nullable=False),
    _text("metadata"),
    _text("body_hash"),
    _at("received_at_us"),
    UniqueConstraint("identity", "revision"),
    Index(None, "decision_id"),
)

usage_report: Final = Table(
    "usage_report",
    metadata,
    _decision_key(primary_key=True),
    _text("policy"),
    _text("arm"),
    _text("served_arm", nullable=True),
    Column("input_tokens", BigInteger),
    Column("output_tokens", BigInteger),
    Column("cost_usd", Double),
    Column("latency_ms", Double),
    _text("error", nullable=True),
    _text("finish_reason", nullable=True),
    Column("estimated", Boolean, nullable=False),
    _text("body_hash"),
    _at("received_at_us"),
)

session: Final = Table(
    "session",
    metadata,
    _text("policy", primary_key=True),
    _text("session_id", primary_key=True),
    _text("arm"),
    _text("decision_id"),
    _at("updated_at_us"),
    Index(None, "updated_at_us"),
)

# ---------------------------------------------------------------- learning

contribution: Final = Table(
    "contribution",
    metadata,
    _decision_key(primary_key=True),
    _text("policy"),
    _text("arm"),
    Column("epoch", BigInteger, nullable=False),
    Column("weight", Double, nullable=False),
    Column("reward", Double, nullable=False),
    Index(None, "policy", "decision_id"),
)

fold_queue: Final = Table(
    "fold_queue",
    metadata,
    _text("queue_id", primary_key=True),
    _text("policy"),
    _decision_key(),
    _at("enqueued_at_us"),
    Index(None, "policy", "queue_id"),
    Index(None, "decision_id"),
)

segment: Final = Table(
    "segment",
    metadata,
    _text("policy", primary_key=True),
    _text("schema_hash", primary_key=True),
    _text("arm", primary_key=True),
    Column("epoch", BigInteger, primary_key=True, autoincrement=False),
    Column("sums", LargeBinary, nullable=False),
    Column("version", BigInteger, nullable=False),
    Index(None, "policy", "schema_hash", "version"),
)

learner_state: Final = Table(
    "learner_state",
    metadata,
    _text("policy", primary_key=True),
    _text("schema_hash", primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    _text("hyperparameters"),
    _text("learner"),
    _at("updated_at_us"),
)

snapshot: Final = Table(
    "snapshot",
    metadata,
    _text("policy", primary_key=True),
    _text("schema_hash", primary_key=True),
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("epoch", BigInteger, nullable=False),
    _text("hyperparameters"),
    _text("learner"),
    Column("folded", Integer, nullable=False),
    _at("created_at_us"),
)

# ---------------------------------------------------------------- sums for reports

rollup: Final = Table(
    "rollup",
    metadata,
    _text("policy", primary_key=True),
    _at("bucket_at_us", primary_key=True, autoincrement=False),
    Column("bucket_s", Integer, primary_key=True, autoincrement=False),
    _text("arm", primary_key=True),
    _text("writer", primary_key=True),
    *_sums(INTEGER_SUMS, FLOAT_SUMS),
    Index(None, "bucket_s", "bucket_at_us"),
    sqlite_with_rowid=False,
)

arm_total: Final = Table(
    "arm_total",
    metadata,
    _text("policy", primary_key=True),
    _text("arm", primary_key=True),
    _text("writer", primary_key=True),
    *_sums(INTEGER_SUMS, FLOAT_SUMS),
    sqlite_with_rowid=False,
)

cluster_stat: Final = Table(
    "cluster_stat",
    metadata,
    _text("policy", primary_key=True),
    _text("schema_hash", primary_key=True),
    Column("cluster", Integer, primary_key=True, autoincrement=False),
    _text("arm", primary_key=True),
    _text("writer", primary_key=True),
    *_sums(CLUSTER_INTEGER_SUMS, CLUSTER_FLOAT_SUMS),
    sqlite_with_rowid=False,
)

delay_count: Final = Table(
    "delay_count",
    metadata,
    _text("policy", primary_key=True),
    Column("bin", Integer, primary_key=True, autoincrement=False),
    Column("rewards", BigInteger, nullable=False),
)

row_count: Final = Table(
    "row_count",
    metadata,
    _text("name", primary_key=True),
    _text("writer", primary_key=True),
    Column("rows", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

# ---------------------------------------------------------------- arms and the rest

policy: Final = Table(
    "policy",
    metadata,
    _text("policy", primary_key=True),
    Column("arms_version", BigInteger, nullable=False),
    _at("created_at_us"),
)

arm: Final = Table(
    "arm",
    metadata,
    Column("policy", Text, ForeignKey("policy.policy"), primary_key=True, nullable=False),
    _text("arm", primary_key=True),
    Column("position", Integer, nullable=False),
    _text("upstream_model"),
    _text("provider"),
    Column("usd_per_mtok_in", Double, nullable=False),
    Column("usd_per_mtok_out", Double, nullable=False),
    Column("usd_per_request", Double, nullable=False),
    Column("enabled", Boolean, nullable=False),
    _text("capabilities"),
    Column("context_window_tokens", BigInteger),
    Column("quality_prior", Double),
    Column("prior_worth", Double, nullable=False),
    Column("quality_tier", Text),
    Column("expected_output_tokens", Double, nullable=False),
    Column("expected_latency_ms", Double),
    Column("max_share", Double, nullable=False),
    Column("onboarding_decisions", BigInteger, nullable=False),
    Column("onboarding_usd", Double, nullable=False),
    _at("created_at_us"),
    _at("updated_at_us"),
    _at("deleted_at_us", nullable=True),
)

arm_price: Final = Table(
    "arm_price",
    metadata,
    _text("policy", primary_key=True),
    _text("arm", primary_key=True),
    _at("valid_from_us", primary_key=True, autoincrement=False),
    Column("usd_per_mtok_in", Double, nullable=False),
    Column("usd_per_mtok_out", Double, nullable=False),
    Column("usd_per_request", Double, nullable=False),
)

lease: Final = Table("lease", metadata, _text("name", primary_key=True), _text("holder"), _at("expires_at_us"))

job_run: Final = Table(
    "job_run",
    metadata,
    _text("job", primary_key=True),
    _at("started_at_us", nullable=True),
    _at("finished_at_us", nullable=True),
    Column("duration_s", Double),
    _text("error", nullable=True),
    Column("runs", BigInteger, nullable=False, server_default=text("0")),
    Column("failures", BigInteger, nullable=False, server_default=text("0")),
    Column("cursor", BigInteger, nullable=False, server_default=text("0")),
)

budget_state: Final = Table(
    "budget_state", metadata, _text("policy", primary_key=True), _text("state"), _at("updated_at_us")
)
