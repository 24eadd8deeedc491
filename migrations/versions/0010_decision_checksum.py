"""A checksum of each decision's row; rows that are there, and those of replicas of before, have none.

Revision 0010, after 0009. Safe before the code.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("decision", sa.Column("checksum", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    op.drop_column("decision", "checksum")
