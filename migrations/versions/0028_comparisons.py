"""Comparisons: pairs of answers that a judge compares, the served one and the baseline's.

Revision 0028, after 0027. Safe before the code: an older replica makes no pairs, and leaves those that wait alone.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None


def _text(name: str, *, nullable: bool = False) -> sa.Column:
    return sa.Column(name, sa.Text(), nullable=nullable)


def _time(name: str) -> sa.Column:
    return sa.Column(name, sa.BigInteger(), nullable=False)


def _number(name: str) -> sa.Column:
    return sa.Column(name, sa.Double(), nullable=False)


def _decision(table: str) -> sa.Column:
    reference = sa.ForeignKey("decision.decision_id", ondelete="CASCADE", name=f"fk_{table}_decision_id_decision")
    return sa.Column("decision_id", sa.Text(), reference, nullable=False)


def upgrade() -> None:
    op.add_column("probe", _text("served_arm", nullable=True))
    op.add_column("probe", _text("served_answer", nullable=True))
    op.create_table(
        "comparison_task",
        _text("task_id"),
        _decision("comparison_task"),
        *[_text(name) for name in ("judge", "policy", "arm", "served_arm")],
        _number("probability"),
        *[_text(name) for name in ("question", "served_answer", "answer")],
        *[_time(name) for name in ("created_at_us", "expires_at_us", "due_at_us")],
        sa.Column("attempts", sa.Integer(), nullable=False, server_default=sa.text("0")),
        _text("lease", nullable=True),
        sa.PrimaryKeyConstraint("task_id", name="pk_comparison_task"),
        sa.UniqueConstraint("decision_id", "judge", "arm", name="uq_comparison_task_decision_id_judge_arm"),
    )
    op.create_index("ix_comparison_task_judge_due_at_us", "comparison_task", ["judge", "due_at_us"])
    op.create_table(
        "comparison",
        _decision("comparison"),
        *[_text(name) for name in ("judge", "arm", "served_arm", "version", "policy")],
        _number("probability"),
        _text("outcome"),
        _number("cost_usd"),
        _time("compared_at_us"),
        sa.PrimaryKeyConstraint("decision_id", "judge", "arm", name="pk_comparison"),
    )
    columns = ["judge", "version", "compared_at_us"]
    op.create_index("ix_comparison_judge_version_compared_at_us", "comparison", columns)


def downgrade() -> None:
    op.drop_table("comparison")
    op.drop_table("comparison_task")
    with op.batch_alter_table("probe") as batch:
        batch.drop_column("served_answer")
        batch.drop_column("served_arm")
