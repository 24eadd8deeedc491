"""Evaluations: what is asked of the log about a candidate, and what was found.

Revision 0025, after 0024. Safe before the code: an older replica knows nothing of the table.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def _text(name: str, *, nullable: bool = False) -> sa.Column:
    return sa.Column(name, sa.Text(), nullable=nullable)


def _count(name: str, kind: sa.types.TypeEngine) -> sa.Column:
    return sa.Column(name, kind, nullable=False, server_default=sa.text("0"))


def upgrade() -> None:
    op.create_table(
        "evaluation",
        *[_text(name) for name in ("evaluation_id", "policy", "candidate", "question", "phase")],
        _text("finding", nullable=True),
        _count("done", sa.BigInteger()),
        _count("total", sa.BigInteger()),
        _count("attempts", sa.Integer()),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.Column("finished_at_us", sa.BigInteger(), nullable=True),
        _text("key_name", nullable=True),
        _text("lease", nullable=True),
        sa.Column("leased_until_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("evaluation_id", name="pk_evaluation"),
    )
    op.create_index("ix_evaluation_policy_evaluation_id", "evaluation", ["policy", "evaluation_id"])
    op.create_index("ix_evaluation_phase_leased_until_us", "evaluation", ["phase", "leased_until_us"])


def downgrade() -> None:
    op.drop_table("evaluation")
