"""Keep the facts behind a decision, and count the rows of the log as they come.

Revision 0002, after 0001. Safe before the code: the column has a default, the counts start from the rows
that are there.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("decision", sa.Column("facts", sa.Text(), server_default=sa.text("'{}'"), nullable=False))
    op.create_table(
        "row_count",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("writer", sa.Text(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", "writer", name=op.f("pk_row_count")),
        sqlite_with_rowid=False,
    )
    counted = sa.table("row_count", sa.column("name"), sa.column("writer"), sa.column("rows"))
    for name in ("decision", "reward_event", "usage_report"):
        rows = sa.select(sa.literal(name), sa.literal(""), sa.func.count()).select_from(sa.table(name))
        op.execute(sa.insert(counted).from_select(["name", "writer", "rows"], rows))


def downgrade() -> None:
    op.drop_table("row_count")
    with op.batch_alter_table("decision") as batch:
        batch.drop_column("facts")
