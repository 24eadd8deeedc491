"""Keep the quality tier that an operator gives an arm.

Revision 0003, after 0002. Safe before the code: the column may be null.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("arm", sa.Column("quality_tier", sa.Text(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("arm") as batch:
        batch.drop_column("quality_tier")
