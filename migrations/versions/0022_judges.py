"""Judges: answers that wait to be judged, verdicts, what judging costs, judges that are refused.

Revision 0022, after 0021. Safe before the code: an older replica knows none of the tables; their rows go with their
decision where it prunes the log.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

_COUNTS = ("sampled", "dropped", "judged", "failed", "calls", "input_tokens", "output_tokens")


def _text(name: str) -> sa.Column:
    return sa.Column(name, sa.Text(), nullable=False)


def _time(name: str) -> sa.Column:
    return sa.Column(name, sa.BigInteger(), nullable=False)


def _decision(table: str) -> sa.Column:
    reference = sa.ForeignKey("decision.decision_id", ondelete="CASCADE", name=f"fk_{table}_decision_id_decision")
    return sa.Column("decision_id", sa.Text(), reference, nullable=False)


def upgrade() -> None:
    op.create_table(
        "judge_task",
        _text("task_id"),
        _decision("judge_task"),
        *[_text(name) for name in ("judge", "version", "policy", "arm")],
        sa.Column("probability", sa.Double(), nullable=False),
        _text("question"),
        _text("answer"),
        *[_time(name) for name in ("created_at_us", "expires_at_us", "due_at_us")],
        sa.Column("attempts", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("lease", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("task_id", name="pk_judge_task"),
        sa.UniqueConstraint("decision_id", "judge", name="uq_judge_task_decision_id_judge"),
    )
    op.create_index("ix_judge_task_judge_due_at_us", "judge_task", ["judge", "due_at_us"])
    op.create_table(
        "judgement",
        _decision("judgement"),
        *[_text(name) for name in ("judge", "task_id", "version", "policy", "arm")],
        sa.Column("probability", sa.Double(), nullable=False),
        sa.Column("score", sa.Double(), nullable=False),
        _text("reason"),
        sa.Column("cost_usd", sa.Double(), nullable=False),
        _time("judged_at_us"),
        _text("reward"),
        sa.PrimaryKeyConstraint("decision_id", "judge", name="pk_judgement"),
        sa.UniqueConstraint("task_id", name="uq_judgement_task_id"),
    )
    op.create_index("ix_judgement_judge_reward_decision_id", "judgement", ["judge", "reward", "decision_id"])
    op.create_index("ix_judgement_judge_version_decision_id", "judgement", ["judge", "version", "decision_id"])
    op.create_table(
        "judge_account",
        _text("judge"),
        _text("policy"),
        sa.Column("hour_at_us", sa.BigInteger(), nullable=False, autoincrement=False),
        *[sa.Column(name, sa.BigInteger(), nullable=False, server_default=sa.text("0")) for name in _COUNTS],
        sa.Column("cost_usd", sa.Double(), nullable=False, server_default=sa.text("0")),
        sa.PrimaryKeyConstraint("judge", "policy", "hour_at_us", name="pk_judge_account"),
    )
    op.create_table(
        "judge_refusal",
        _text("judge"),
        _text("version"),
        _text("reason"),
        _time("refused_at_us"),
        sa.PrimaryKeyConstraint("judge", "version", name="pk_judge_refusal"),
    )


def downgrade() -> None:
    for table in ("judge_refusal", "judge_account", "judgement", "judge_task"):
        op.drop_table(table)
