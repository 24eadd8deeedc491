"""Context tags: which column each value of a tag has.

Revision 0021, after 0020. Safe before the code: an older replica knows no context tags.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "context_value",
        sa.Column("policy", sa.Text(), primary_key=True),
        sa.Column("tag", sa.Text(), primary_key=True),
        sa.Column("value", sa.Text(), primary_key=True),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.UniqueConstraint("policy", "tag", "place", name="uq_context_value_policy_tag_place"),
    )


def downgrade() -> None:
    op.drop_table("context_value")
