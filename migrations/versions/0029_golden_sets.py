"""Golden sets: what arms answer to the same prompts every day, and what the days have shown.

Revision 0029, after 0028. Safe before the code: an older replica makes no such calls.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None


def _text(name: str, *, nullable: bool = False) -> sa.Column:
    return sa.Column(name, sa.Text(), nullable=nullable)


def _whole(name: str, *, nullable: bool = False) -> sa.Column:
    return sa.Column(name, sa.BigInteger(), nullable=nullable)


def upgrade() -> None:
    zero = sa.text("0")
    op.create_table(
        "golden_case",
        _text("policy"),
        sa.Column("day", sa.Integer(), autoincrement=False, nullable=False),
        *[_text(name) for name in ("arm", "prompt_id", "version")],
        sa.Column("position", sa.Integer(), nullable=False),
        _text("state"),
        _text("answer", nullable=True),
        sa.Column("score", sa.Double(), nullable=True),
        sa.Column("reserve_usd", sa.Double(), nullable=False),
        sa.Column("cost_usd", sa.Double(), nullable=False, server_default=zero),
        _whole("due_at_us"),
        _whole("claimed_at_us", nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False, server_default=zero),
        _text("lease", nullable=True),
        sa.Column("counted", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.PrimaryKeyConstraint("policy", "day", "arm", "prompt_id", name="pk_golden_case"),
    )
    op.create_index("ix_golden_case_policy_state_due_at_us", "golden_case", ["policy", "state", "due_at_us"])
    op.create_table(
        "golden_watch",
        *[_text(name) for name in ("policy", "arm", "version", "test")],
        _whole("alarm_day", nullable=True),
        _whole("updated_at_us"),
        sa.PrimaryKeyConstraint("policy", "arm", name="pk_golden_watch"),
    )


def downgrade() -> None:
    op.drop_table("golden_watch")
    op.drop_table("golden_case")
