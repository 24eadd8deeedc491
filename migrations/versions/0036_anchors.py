"""Anchors: a frozen state of each policy, whose decisions stand beside what the policy has become.

Revision 0036, after 0035. Safe before the code: an older replica has no anchor, and leaves what is kept of one alone.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0036"
down_revision = "0035"
branch_labels = None
depends_on = None


def _text(name: str, *, nullable: bool = False) -> sa.Column:
    return sa.Column(name, sa.Text(), nullable=nullable)


def _whole(name: str, *, nullable: bool = False) -> sa.Column:
    return sa.Column(name, sa.BigInteger(), nullable=nullable)


def upgrade() -> None:
    op.create_table(
        "policy_anchor",
        *[_text(name) for name in ("policy", "anchor_id", "schema_hash")],
        _whole("version"),
        *[_text(name) for name in ("hyperparameters", "learner", "frozen")],
        sa.Column("segments", sa.Integer(), nullable=False),
        *[_text(name, nullable=True) for name in ("promotion", "reason", "key_name")],
        _whole("taken_at_us"),
        _text("test"),
        _whole("alarm_day", nullable=True),
        sa.PrimaryKeyConstraint("policy", name="pk_policy_anchor"),
    )
    op.create_table(
        "anchor_segment",
        _text("anchor_id"),
        _text("arm"),
        sa.Column("epoch", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("sums", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("anchor_id", "arm", "epoch", name="pk_anchor_segment"),
    )
    op.create_table(
        "anchor_event",
        _text("policy"),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        _text("event"),
        _text("anchor_id"),
        *[_text(name, nullable=True) for name in ("reason", "key_name")],
        _whole("at_us"),
        sa.PrimaryKeyConstraint("policy", "number", name="pk_anchor_event"),
    )


def downgrade() -> None:
    op.drop_table("anchor_event")
    op.drop_table("anchor_segment")
    op.drop_table("policy_anchor")
