"""Generations of arms: one that is added under a deleted one's name begins anew.

Revision 0014, after 0013. Safe before the code: every arm is of the first generation until one is added again.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("arm", sa.Column("generation", sa.Integer(), nullable=False, server_default=sa.text("1")))
    nothing = sa.text("'{}'")
    op.add_column("decision", sa.Column("generations", sa.Text(), nullable=False, server_default=nothing))


def downgrade() -> None:
    with op.batch_alter_table("decision") as batch:
        batch.drop_column("generations")
    with op.batch_alter_table("arm") as batch:
        batch.drop_column("generation")
