"""Outcomes of a release that wait until their decision is old enough to be counted.

Revision 0035, after 0034. Safe before the code: an older replica writes neither column and counts at once.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("release_unit", sa.Column("held", sa.Text(), nullable=True))
    op.add_column("release_unit", sa.Column("decided_at_us", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("release_unit") as batch:
        batch.drop_column("decided_at_us")
        batch.drop_column("held")
