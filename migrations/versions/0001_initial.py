"""The first schema: log, learning, sums, arms, states.

Revision 0001, after nothing.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    _create_log()
    _create_learning()
    _create_sums()
    _create_arms()
    _create_states()


def downgrade() -> None:
    for table in (
        "budget_state",
        "job_run",
        "lease",
        "arm_price",
        "arm",
        "policy",
        "delay_count",
        "cluster_stat",
        "arm_total",
        "rollup",
        "snapshot",
        "learner_state",
        "segment",
        "fold_queue",
        "contribution",
        "session",
        "usage_report",
        "reward_event",
        "activation",
        "decision",
    ):
        op.drop_table(table)


def _create_log() -> None:
    op.create_table(
        "decision",
        sa.Column("decision_id", sa.Text(), nullable=False),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("policy_kind", sa.Text(), nullable=False),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.Column("expires_at_us", sa.BigInteger(), nullable=False),
        sa.Column("arm", sa.Text(), nullable=False),
        sa.Column("upstream_model", sa.Text(), nullable=False),
        sa.Column("propensity", sa.Double(), nullable=False),
        sa.Column("uniform", sa.Double(), nullable=False),
        sa.Column("explored", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("degraded", sa.Text(), nullable=True),
        sa.Column("arms", sa.Text(), nullable=False),
        sa.Column("probability", sa.LargeBinary(), nullable=False),
        sa.Column("mean", sa.LargeBinary(), nullable=False),
        sa.Column("deviation", sa.LargeBinary(), nullable=False),
        sa.Column("cost_usd", sa.LargeBinary(), nullable=False),
        sa.Column("penalty", sa.LargeBinary(), nullable=False),
        sa.Column("predicted_cost_usd", sa.Double(), nullable=False),
        sa.Column("exclusions", sa.Text(), nullable=False),
        sa.Column("x", sa.LargeBinary(), nullable=False),
        sa.Column("cluster", sa.Integer(), nullable=False),
        sa.Column("schema_hash", sa.Text(), nullable=False),
        sa.Column("snapshot_version", sa.BigInteger(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("cost_weight", sa.Double(), nullable=False),
        sa.Column("input_tokens", sa.BigInteger(), nullable=False),
        sa.Column("input_hash", sa.Text(), nullable=True),
        sa.Column("input_text", sa.Text(), nullable=True),
        sa.Column("session_id", sa.Text(), nullable=True),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("deferred", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("decision_id", name=op.f("pk_decision")),
    )
    op.create_index(
        op.f("ix_decision_policy_arm_decision_id"), "decision", ["policy", "arm", "decision_id"], unique=False
    )
    op.create_index(op.f("ix_decision_policy_decision_id"), "decision", ["policy", "decision_id"], unique=False)
    op.create_index(op.f("ix_decision_policy_expires_at_us"), "decision", ["policy", "expires_at_us"], unique=False)
    op.create_index(
        "ix_decision_policy_session_id_decision_id",
        "decision",
        ["policy", "session_id", "decision_id"],
        unique=False,
        sqlite_where=sa.text("session_id IS NOT NULL"),
        postgresql_where=sa.text("session_id IS NOT NULL"),
    )
    op.create_table(
        "activation",
        sa.Column("decision_id", sa.Text(), nullable=False),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("activated_at_us", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["decision_id"], ["decision.decision_id"], name=op.f("fk_activation_decision_id_decision")
        ),
        sa.PrimaryKeyConstraint("decision_id", name=op.f("pk_activation")),
    )
    op.create_table(
        "reward_event",
        sa.Column("reward_id", sa.Text(), nullable=False),
        sa.Column("decision_id", sa.Text(), nullable=False),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("identity", sa.Text(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("keyed", sa.Boolean(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("metric", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("value", sa.Double(), nullable=True),
        sa.Column("reward", sa.Double(), nullable=True),
        sa.Column("noise_variance", sa.Double(), nullable=False),
        sa.Column("late", sa.Boolean(), nullable=False),
        sa.Column("metadata", sa.Text(), nullable=False),
        sa.Column("body_hash", sa.Text(), nullable=False),
        sa.Column("received_at_us", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["decision_id"], ["decision.decision_id"], name=op.f("fk_reward_event_decision_id_decision")
        ),
        sa.PrimaryKeyConstraint("reward_id", name=op.f("pk_reward_event")),
        sa.UniqueConstraint("identity", "revision", name=op.f("uq_reward_event_identity_revision")),
    )
    op.create_index(op.f("ix_reward_event_decision_id"), "reward_event", ["decision_id"], unique=False)
    op.create_table(
        "usage_report",
        sa.Column("decision_id", sa.Text(), nullable=False),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("arm", sa.Text(), nullable=False),
        sa.Column("served_arm", sa.Text(), nullable=True),
        sa.Column("input_tokens", sa.BigInteger(), nullable=True),
        sa.Column("output_tokens", sa.BigInteger(), nullable=True),
        sa.Column("cost_usd", sa.Double(), nullable=True),
        sa.Column("latency_ms", sa.Double(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("finish_reason", sa.Text(), nullable=True),
        sa.Column("estimated", sa.Boolean(), nullable=False),
        sa.Column("body_hash", sa.Text(), nullable=False),
        sa.Column("received_at_us", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["decision_id"], ["decision.decision_id"], name=op.f("fk_usage_report_decision_id_decision")
        ),
        sa.PrimaryKeyConstraint("decision_id", name=op.f("pk_usage_report")),
    )
    op.create_table(
        "session",
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("arm", sa.Text(), nullable=False),
        sa.Column("decision_id", sa.Text(), nullable=False),
        sa.Column("updated_at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("policy", "session_id", name=op.f("pk_session")),
    )
    op.create_index(op.f("ix_session_updated_at_us"), "session", ["updated_at_us"], unique=False)


def _create_learning() -> None:
    op.create_table(
        "contribution",
        sa.Column("decision_id", sa.Text(), nullable=False),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("arm", sa.Text(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("weight", sa.Double(), nullable=False),
        sa.Column("reward", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["decision_id"], ["decision.decision_id"], name=op.f("fk_contribution_decision_id_decision")
        ),
        sa.PrimaryKeyConstraint("decision_id", name=op.f("pk_contribution")),
    )
    op.create_index(
        op.f("ix_contribution_policy_decision_id"), "contribution", ["policy", "decision_id"], unique=False
    )
    op.create_table(
        "fold_queue",
        sa.Column("queue_id", sa.Text(), nullable=False),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("decision_id", sa.Text(), nullable=False),
        sa.Column("enqueued_at_us", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["decision_id"], ["decision.decision_id"], name=op.f("fk_fold_queue_decision_id_decision")
        ),
        sa.PrimaryKeyConstraint("queue_id", name=op.f("pk_fold_queue")),
    )
    op.create_index(op.f("ix_fold_queue_decision_id"), "fold_queue", ["decision_id"], unique=False)
    op.create_index(op.f("ix_fold_queue_policy_queue_id"), "fold_queue", ["policy", "queue_id"], unique=False)
    op.create_table(
        "segment",
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("schema_hash", sa.Text(), nullable=False),
        sa.Column("arm", sa.Text(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("sums", sa.LargeBinary(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("policy", "schema_hash", "arm", "epoch", name=op.f("pk_segment")),
    )
    op.create_index(
        op.f("ix_segment_policy_schema_hash_version"), "segment", ["policy", "schema_hash", "version"], unique=False
    )
    op.create_table(
        "learner_state",
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("schema_hash", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("hyperparameters", sa.Text(), nullable=False),
        sa.Column("learner", sa.Text(), nullable=False),
        sa.Column("updated_at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("policy", "schema_hash", name=op.f("pk_learner_state")),
    )
    op.create_table(
        "snapshot",
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("schema_hash", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("hyperparameters", sa.Text(), nullable=False),
        sa.Column("learner", sa.Text(), nullable=False),
        sa.Column("folded", sa.Integer(), nullable=False),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("policy", "schema_hash", "version", name=op.f("pk_snapshot")),
    )


def _create_sums() -> None:
    op.create_table(
        "rollup",
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("bucket_at_us", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("bucket_s", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("arm", sa.Text(), nullable=False),
        sa.Column("writer", sa.Text(), nullable=False),
        sa.Column("decisions", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("explored", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("greedy", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("fixed_decisions", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("degraded", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("rewards", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("usage_reports", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("input_tokens", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("output_tokens", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("latency_reports", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("errors", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("entropy_sum", sa.Double(), server_default=sa.text("0"), nullable=False),
        sa.Column("predicted_spend_usd", sa.Double(), server_default=sa.text("0"), nullable=False),
        sa.Column("fixed_cost_usd", sa.Double(), server_default=sa.text("0"), nullable=False),
        sa.Column("weight", sa.Double(), server_default=sa.text("0"), nullable=False),
        sa.Column("weighted_reward", sa.Double(), server_default=sa.text("0"), nullable=False),
        sa.Column("weighted_square", sa.Double(), server_default=sa.text("0"), nullable=False),
        sa.Column("spend_usd", sa.Double(), server_default=sa.text("0"), nullable=False),
        sa.Column("latency_ms_sum", sa.Double(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("policy", "bucket_at_us", "bucket_s", "arm", "writer", name=op.f("pk_rollup")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_rollup_bucket_s_bucket_at_us"), "rollup", ["bucket_s", "bucket_at_us"], unique=False)
    op.create_table(
        "arm_total",
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("arm", sa.Text(), nullable=False),
        sa.Column("writer", sa.Text(), nullable=False),
        sa.Column("decisions", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("explored", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("greedy", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("fixed_decisions", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("degraded", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("rewards", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("usage_reports", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("input_tokens", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("output_tokens", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("latency_reports", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("errors", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("entropy_sum", sa.Double(), server_default=sa.text("0"), nullable=False),
        sa.Column("predicted_spend_usd", sa.Double(), server_default=sa.text("0"), nullable=False),
        sa.Column("fixed_cost_usd", sa.Double(), server_default=sa.text("0"), nullable=False),
        sa.Column("weight", sa.Double(), server_default=sa.text("0"), nullable=False),
        sa.Column("weighted_reward", sa.Double(), server_default=sa.text("0"), nullable=False),
        sa.Column("weighted_square", sa.Double(), server_default=sa.text("0"), nullable=False),
        sa.Column("spend_usd", sa.Double(), server_default=sa.text("0"), nullable=False),
        sa.Column("latency_ms_sum", sa.Double(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("policy", "arm", "writer", name=op.f("pk_arm_total")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "cluster_stat",
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("schema_hash", sa.Text(), nullable=False),
        sa.Column("cluster", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("arm", sa.Text(), nullable=False),
        sa.Column("writer", sa.Text(), nullable=False),
        sa.Column("decisions", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("rewards", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("latency_reports", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("weight", sa.Double(), server_default=sa.text("0"), nullable=False),
        sa.Column("weighted_reward", sa.Double(), server_default=sa.text("0"), nullable=False),
        sa.Column("weighted_square", sa.Double(), server_default=sa.text("0"), nullable=False),
        sa.Column("spend_usd", sa.Double(), server_default=sa.text("0"), nullable=False),
        sa.Column("latency_ms_sum", sa.Double(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("policy", "schema_hash", "cluster", "arm", "writer", name=op.f("pk_cluster_stat")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "delay_count",
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("bin", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("rewards", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("policy", "bin", name=op.f("pk_delay_count")),
    )


def _create_arms() -> None:
    op.create_table(
        "policy",
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("arms_version", sa.BigInteger(), nullable=False),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("policy", name=op.f("pk_policy")),
    )
    op.create_table(
        "arm",
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("arm", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("upstream_model", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("usd_per_mtok_in", sa.Double(), nullable=False),
        sa.Column("usd_per_mtok_out", sa.Double(), nullable=False),
        sa.Column("usd_per_request", sa.Double(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("capabilities", sa.Text(), nullable=False),
        sa.Column("context_window_tokens", sa.BigInteger(), nullable=True),
        sa.Column("quality_prior", sa.Double(), nullable=True),
        sa.Column("prior_worth", sa.Double(), nullable=False),
        sa.Column("expected_output_tokens", sa.Double(), nullable=False),
        sa.Column("expected_latency_ms", sa.Double(), nullable=True),
        sa.Column("max_share", sa.Double(), nullable=False),
        sa.Column("onboarding_decisions", sa.BigInteger(), nullable=False),
        sa.Column("onboarding_usd", sa.Double(), nullable=False),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.Column("updated_at_us", sa.BigInteger(), nullable=False),
        sa.Column("deleted_at_us", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["policy"], ["policy.policy"], name=op.f("fk_arm_policy_policy")),
        sa.PrimaryKeyConstraint("policy", "arm", name=op.f("pk_arm")),
    )
    op.create_table(
        "arm_price",
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("arm", sa.Text(), nullable=False),
        sa.Column("valid_from_us", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("usd_per_mtok_in", sa.Double(), nullable=False),
        sa.Column("usd_per_mtok_out", sa.Double(), nullable=False),
        sa.Column("usd_per_request", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("policy", "arm", "valid_from_us", name=op.f("pk_arm_price")),
    )


def _create_states() -> None:
    op.create_table(
        "lease",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("expires_at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_lease")),
    )
    op.create_table(
        "job_run",
        sa.Column("job", sa.Text(), nullable=False),
        sa.Column("started_at_us", sa.BigInteger(), nullable=True),
        sa.Column("finished_at_us", sa.BigInteger(), nullable=True),
        sa.Column("duration_s", sa.Double(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("runs", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("failures", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("cursor", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("job", name=op.f("pk_job_run")),
    )
    op.create_table(
        "budget_state",
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("updated_at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("policy", name=op.f("pk_budget_state")),
    )
