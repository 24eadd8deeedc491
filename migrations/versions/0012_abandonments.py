"""Decisions that were abandoned: never served, not charged, not learned.

Revision 0012, after 0011. Safe before the code: older replicas know of no abandonment, and none is there yet.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "abandonment",
        sa.Column("decision_id", sa.Text(), nullable=False),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("abandoned_at_us", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["decision_id"], ["decision.decision_id"], name=op.f("fk_abandonment_decision_id_decision")
        ),
        sa.PrimaryKeyConstraint("decision_id", name=op.f("pk_abandonment")),
    )


def downgrade() -> None:
    op.drop_table("abandonment")
