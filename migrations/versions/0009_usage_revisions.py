"""Usage reports get revisions, attempts have their own table, and accounts can be corrected.

Revision 0009, after 0008. Safe before the code: older replicas write reports without the new columns, which then are
a first revision without attempts.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("usage_report", sa.Column("revision", sa.Integer(), nullable=False, server_default=sa.text("0")))
    op.add_column("usage_report", sa.Column("told_cost_usd", sa.Double()))
    op.add_column("usage_report", sa.Column("attempts_usd", sa.Double()))
    op.create_table(
        "usage_revision",
        _decision_key(),
        sa.Column("revision", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("cost_usd", sa.Double()),
        sa.Column("report", sa.Text(), nullable=False),
        sa.Column("received_at_us", sa.BigInteger(), nullable=False),
        _decision_reference("usage_revision"),
        sa.PrimaryKeyConstraint("decision_id", "revision", name=op.f("pk_usage_revision")),
    )
    op.create_table(
        "attempt",
        _decision_key(),
        sa.Column("ordinal", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("arm", sa.Text(), nullable=False),
        sa.Column("error", sa.Text()),
        sa.Column("latency_ms", sa.Double()),
        sa.Column("input_tokens", sa.BigInteger()),
        sa.Column("output_tokens", sa.BigInteger()),
        sa.Column("cached_input_tokens", sa.BigInteger()),
        sa.Column("cost_usd", sa.Double()),
        sa.Column("told_cost_usd", sa.Double()),
        sa.Column("retry_after_s", sa.Double()),
        _decision_reference("attempt"),
        sa.PrimaryKeyConstraint("decision_id", "ordinal", name=op.f("pk_attempt")),
    )
    op.create_table(
        "budget_correction",
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("correction_id", sa.Text(), nullable=False),
        sa.Column("budget", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("window_at_us", sa.BigInteger(), nullable=False),
        sa.Column("usd", sa.Double(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("key_name", sa.Text()),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("policy", "correction_id", name=op.f("pk_budget_correction")),
    )
    op.create_index(
        op.f("ix_budget_correction_policy_budget_created_at_us"),
        "budget_correction",
        ["policy", "budget", "created_at_us"],
    )


def downgrade() -> None:
    op.drop_table("budget_correction")
    op.drop_table("attempt")
    op.drop_table("usage_revision")
    for column in ("attempts_usd", "told_cost_usd", "revision"):
        op.drop_column("usage_report", column)


def _decision_key() -> sa.Column[str]:
    return sa.Column("decision_id", sa.Text(), nullable=False)


def _decision_reference(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["decision_id"],
        ["decision.decision_id"],
        name=op.f(f"fk_{table}_decision_id_decision"),
        ondelete="CASCADE",
    )
