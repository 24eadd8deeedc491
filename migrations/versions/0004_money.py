"""Accounts of budgets shared by all replicas, what a decision was charged to, cached input and energy of arms, sums
for off-policy estimates of every fixed arm.

Revision 0004, after 0003. Safe before the code: new columns have a default or may be null, sums start at nothing.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_WHOLE = ("cached_input_tokens", "estimated_rewards")
_REAL = (
    "estimate_sum", "estimate_square", "difference_sum", "difference_square", "inverse_propensity_sum",
    "inverse_propensity_square",
)  # fmt: skip
_ARM = ("min_share", "kwh_per_mtok_in", "kwh_per_mtok_out")


def upgrade() -> None:
    zero = sa.text("0")
    for table in ("rollup", "arm_total"):
        for name in _WHOLE:
            op.add_column(table, sa.Column(name, sa.BigInteger(), server_default=zero, nullable=False))
        for name in _REAL:
            op.add_column(table, sa.Column(name, sa.Double(), server_default=zero, nullable=False))
    op.add_column("decision", sa.Column("charges", sa.Text(), server_default=sa.text("'[]'"), nullable=False))
    # Of contributions from before this revision the estimates hold nothing yet that a correction might take back.
    op.add_column("contribution", sa.Column("estimated", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("decision", sa.Column("mixture", sa.Text(), nullable=True))
    op.create_index(op.f("ix_usage_report_policy_decision_id"), "usage_report", ["policy", "decision_id"])
    op.add_column("usage_report", sa.Column("cached_input_tokens", sa.BigInteger(), nullable=True))
    for table in ("arm", "arm_price"):
        op.add_column(table, sa.Column("usd_per_mtok_cached_in", sa.Double(), nullable=True))
    for name in _ARM:
        op.add_column("arm", sa.Column(name, sa.Double(), server_default=zero, nullable=False))
    op.create_table(
        "budget_account",
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("budget", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("window_at_us", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("decisions", sa.BigInteger(), nullable=False),
        sa.Column("charged_usd", sa.Double(), nullable=False),
        sa.Column("owed_usd", sa.Double(), nullable=False),
        sa.Column("opened_at_us", sa.BigInteger(), nullable=False),
        sa.Column("updated_at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("policy", "budget", "account", "window_at_us", name=op.f("pk_budget_account")),
    )


def downgrade() -> None:
    op.drop_table("budget_account")
    op.drop_index(op.f("ix_usage_report_policy_decision_id"), table_name="usage_report")
    for table, names in (
        ("arm", (*_ARM, "usd_per_mtok_cached_in")),
        ("arm_price", ("usd_per_mtok_cached_in",)),
        ("usage_report", ("cached_input_tokens",)),
        ("decision", ("charges", "mixture")),
        ("contribution", ("estimated",)),
        ("arm_total", (*_REAL, *_WHOLE)),
        ("rollup", (*_REAL, *_WHOLE)),
    ):
        with op.batch_alter_table(table) as batch:
            for name in names:
                batch.drop_column(name)
