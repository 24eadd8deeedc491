"""Probes: other arms' answers to queries that were answered, for judges to score.

Revision 0026, after 0025. Safe before the code: an older replica knows none of the tables; their rows go with their
decision where it prunes the log.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None

_COUNTS = ("drawn", "dropped", "answered", "failed", "lost", "calls", "input_tokens", "output_tokens")


def _text(name: str, *, nullable: bool = False) -> sa.Column:
    return sa.Column(name, sa.Text(), nullable=nullable)


def _time(name: str, *, nullable: bool = False) -> sa.Column:
    return sa.Column(name, sa.BigInteger(), nullable=nullable)


def _number(name: str) -> sa.Column:
    return sa.Column(name, sa.Double(), nullable=False)


def _zero(name: str, kind: sa.types.TypeEngine) -> sa.Column:
    return sa.Column(name, kind, nullable=False, server_default=sa.text("0"))


def _decision(table: str) -> sa.Column:
    reference = sa.ForeignKey("decision.decision_id", ondelete="CASCADE", name=f"fk_{table}_decision_id_decision")
    return sa.Column("decision_id", sa.Text(), reference, nullable=False)


def upgrade() -> None:
    op.create_table(
        "probe",
        _text("probe_id"),
        _decision("probe"),
        *[_text(name) for name in ("judge", "policy", "arm")],
        _number("probability"),
        *[_text(name) for name in ("state", "surface")],
        *[_text(name, nullable=True) for name in ("body", "headers")],
        _time("input_tokens"),
        _number("reserve_usd"),
        _zero("cost_usd", sa.Double()),
        *[_time(name) for name in ("created_at_us", "expires_at_us", "due_at_us")],
        _time("claimed_at_us", nullable=True),
        _zero("attempts", sa.Integer()),
        _text("lease", nullable=True),
        sa.PrimaryKeyConstraint("probe_id", name="pk_probe"),
        sa.UniqueConstraint("decision_id", "judge", "arm", name="uq_probe_decision_id_judge_arm"),
    )
    op.create_index("ix_probe_state_judge_due_at_us", "probe", ["state", "judge", "due_at_us"])
    op.create_table(
        "probe_answer",
        _text("task_id"),
        _decision("probe_answer"),
        *[_text(name) for name in ("judge", "version", "policy", "arm")],
        _number("probability"),
        *[_text(name) for name in ("question", "answer")],
        *[_time(name) for name in ("created_at_us", "expires_at_us", "due_at_us")],
        _zero("attempts", sa.Integer()),
        _text("lease", nullable=True),
        sa.PrimaryKeyConstraint("task_id", name="pk_probe_answer"),
        sa.UniqueConstraint("decision_id", "judge", "arm", name="uq_probe_answer_decision_id_judge_arm"),
    )
    op.create_index("ix_probe_answer_judge_due_at_us", "probe_answer", ["judge", "due_at_us"])
    op.create_table(
        "probe_judgement",
        _decision("probe_judgement"),
        *[_text(name) for name in ("judge", "arm", "task_id", "version", "policy")],
        *[_number(name) for name in ("probability", "score")],
        _text("reason"),
        _number("cost_usd"),
        _time("judged_at_us"),
        _text("reward"),
        sa.PrimaryKeyConstraint("decision_id", "judge", "arm", name="pk_probe_judgement"),
        sa.UniqueConstraint("task_id", name="uq_probe_judgement_task_id"),
    )
    for name in ("reward", "version"):
        columns = ["judge", name, "decision_id"]
        op.create_index(f"ix_probe_judgement_{'_'.join(columns)}", "probe_judgement", columns)
    op.create_table(
        "probe_account",
        *[_text(name) for name in ("judge", "policy")],
        sa.Column("hour_at_us", sa.BigInteger(), nullable=False, autoincrement=False),
        *[_zero(name, sa.BigInteger()) for name in _COUNTS],
        _zero("cost_usd", sa.Double()),
        sa.PrimaryKeyConstraint("judge", "policy", "hour_at_us", name="pk_probe_account"),
    )


def downgrade() -> None:
    for table in ("probe_account", "probe_judgement", "probe_answer", "probe"):
        op.drop_table(table)
