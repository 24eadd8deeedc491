"""Shadows of candidates: which candidates are shadowed, their sums, and what they would have drawn of each decision.

Revision 0033, after 0032. Safe before the code: an older replica counts nothing, and its log takes its rows along.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None


def _text(name: str) -> sa.Column:
    return sa.Column(name, sa.Text(), nullable=False)


def _time(name: str, *, nullable: bool = False) -> sa.Column:
    return sa.Column(name, sa.BigInteger(), nullable=nullable)


def _of(table: str, column: str, parent: str) -> sa.Column:
    name = f"fk_{table}_{column}_{parent}"
    return sa.Column(
        column, sa.Text(), sa.ForeignKey(f"{parent}.{column}", ondelete="CASCADE", name=name), nullable=False
    )


def upgrade() -> None:
    op.create_table(
        "candidate_shadow",
        _text("shadow_id"),
        _of("candidate_shadow", "candidate_id", "candidate"),
        _text("policy"),
        _text("rule"),
        _text("arms"),
        sa.Column("rated", sa.BigInteger(), nullable=False, server_default=sa.text("0")),
        _time("first_us", nullable=True),
        _time("last_us", nullable=True),
        _time("started_at_us"),
        _time("stopped_at_us", nullable=True),
        sa.PrimaryKeyConstraint("shadow_id", name="pk_candidate_shadow"),
        sa.UniqueConstraint("candidate_id", name="uq_candidate_shadow_candidate_id"),
    )
    op.create_index("ix_candidate_shadow_policy", "candidate_shadow", ["policy"])
    op.create_table(
        "shadow_sum",
        _of("shadow_sum", "shadow_id", "candidate_shadow"),
        _text("part"),
        sa.Column("sums", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("shadow_id", "part", name="pk_shadow_sum"),
    )
    op.create_table(
        "shadow_decision",
        _of("shadow_decision", "decision_id", "decision"),
        _text("policy"),
        sa.Column("reward", sa.Double(), nullable=True),
        _text("arms"),
        sa.Column("drawn", sa.Integer(), nullable=False),
        sa.Column("predicted", sa.Double(), nullable=False),
        _text("parts"),
        sa.Column("vectors", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("decision_id", name="pk_shadow_decision"),
    )
    op.create_index("ix_shadow_decision_policy", "shadow_decision", ["policy"])


def downgrade() -> None:
    op.drop_table("shadow_decision")
    op.drop_table("shadow_sum")
    op.drop_table("candidate_shadow")
