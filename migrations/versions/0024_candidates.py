"""Candidates: named differences to policies.

Revision 0024, after 0023. Safe before the code: an older replica knows nothing of the table.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "candidate",
        *[
            sa.Column(name, sa.Text(), nullable=False)
            for name in ("candidate_id", "policy", "name", "settings", "arms")
        ],
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.Column("key_name", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("candidate_id", name="pk_candidate"),
        sa.UniqueConstraint("policy", "name", name="uq_candidate_policy_name"),
    )


def downgrade() -> None:
    op.drop_table("candidate")
