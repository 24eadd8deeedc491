"""Releases: a candidate beside the incumbent, what decisions keep of it, and what was promoted.

Revision 0027, after 0026. Safe before the code: an older replica decides everything as the incumbent and writes none
of it; it does not follow what is promoted, so upgrade all replicas before the first release.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def _text(name: str, *, nullable: bool = False) -> sa.Column:
    return sa.Column(name, sa.Text(), nullable=nullable)


def _time(name: str, *, nullable: bool = False) -> sa.Column:
    return sa.Column(name, sa.BigInteger(), nullable=nullable)


def upgrade() -> None:
    op.add_column("decision", sa.Column("release", sa.Text(), nullable=True))
    op.create_table(
        "policy_release",
        _text("release_id"),
        _text("policy"),
        _text("open_policy", nullable=True),
        *[_text(name) for name in ("candidate", "terms", "tests", "phase")],
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("due", sa.Boolean(), nullable=False, server_default=sa.text("false")),
        _text("reason", nullable=True),
        _text("key_name", nullable=True),
        _time("created_at_us"),
        _time("step_at_us"),
        _time("ended_at_us", nullable=True),
        sa.PrimaryKeyConstraint("release_id", name="pk_policy_release"),
        sa.UniqueConstraint("open_policy", name="uq_policy_release_open_policy"),
    )
    op.create_index("ix_policy_release_policy_release_id", "policy_release", ["policy", "release_id"])
    op.create_table(
        "release_event",
        _text("release_id"),
        sa.Column("number", sa.Integer(), nullable=False, autoincrement=False),
        _text("event"),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("share", sa.Double(), nullable=False),
        _text("reason", nullable=True),
        _text("key_name", nullable=True),
        _time("at_us"),
        sa.PrimaryKeyConstraint("release_id", "number", name="pk_release_event"),
    )
    op.create_table(
        "release_unit",
        *[_text(name) for name in ("release_id", "measure", "unit", "decision_id")],
        sa.PrimaryKeyConstraint("release_id", "measure", "unit", name="pk_release_unit"),
    )
    op.create_index("ix_release_unit_release_id_decision_id", "release_unit", ["release_id", "decision_id"])
    op.create_table(
        "policy_promotion",
        _text("policy"),
        _text("promoted"),
        _time("updated_at_us"),
        sa.PrimaryKeyConstraint("policy", name="pk_policy_promotion"),
    )


def downgrade() -> None:
    for table in ("policy_promotion", "release_unit", "release_event", "policy_release"):
        op.drop_table(table)
    with op.batch_alter_table("decision") as batch:
        batch.drop_column("release")
