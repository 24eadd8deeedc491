"""Counters are added up behind the log: what a commit adds to them is a row until then.

Revision 0011, after 0010. Safe before the code: older replicas raise the counters themselves.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "sum_entry",
        sa.Column("entry_id", sa.Text(), nullable=False),
        sa.Column("sums", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("entry_id", name=op.f("pk_sum_entry")),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    op.drop_table("sum_entry")
