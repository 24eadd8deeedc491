"""Parts of the log that are in an archive.

Revision 0034, after 0033. Safe before the code: an older replica archives nothing, and reads what is in the database.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "archived_part",
        *[sa.Column(name, sa.Text(), nullable=False) for name in ("last_id", "after_id", "tables")],
        *[sa.Column(name, sa.BigInteger(), nullable=False) for name in ("decisions", "bytes")],
        sa.Column("revision", sa.Text(), nullable=False),
        sa.Column("archived_at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("last_id", name="pk_archived_part"),
    )


def downgrade() -> None:
    op.drop_table("archived_part")
