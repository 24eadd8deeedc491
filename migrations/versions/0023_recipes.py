"""Recipes: arms that are made of others, their calls, and how often their members settle a query.

Revision 0023, after 0022. Safe before the code: an older replica knows no recipes. One that still runs when the first
recipe is added takes it for a model without a price, so upgrade all replicas before.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("arm", sa.Column("recipe", sa.Text(), nullable=True))
    op.add_column("attempt", sa.Column("recipe", sa.Text(), nullable=True))
    op.create_table(
        "settling",
        sa.Column("policy", sa.Text(), primary_key=True),
        sa.Column("kind", sa.Text(), primary_key=True),
        sa.Column("members", sa.Text(), primary_key=True),
        sa.Column("writer", sa.Text(), primary_key=True),
        sa.Column("reached", sa.BigInteger(), nullable=False),
        sa.Column("unsettled", sa.BigInteger(), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("settling")
    with op.batch_alter_table("attempt") as batch:
        batch.drop_column("recipe")
    with op.batch_alter_table("arm") as batch:
        batch.drop_column("recipe")
