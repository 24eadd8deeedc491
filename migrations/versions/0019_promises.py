"""Promises: what a decision was to keep of which baseline, and what was switched while the daemon ran.

Revision 0019, after 0018. Safe before the code: an older replica makes decisions outside any promise and switches
nothing.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

_COLUMNS = (
    ("keep", sa.Double()),
    ("baseline", sa.Text()),
    ("promise", sa.Text()),
    ("own_probability", sa.LargeBinary()),
)


def upgrade() -> None:
    for name, kind in _COLUMNS:
        op.add_column("decision", sa.Column(name, kind, nullable=True))
    op.create_table(
        "policy_switch",
        sa.Column("policy", sa.Text(), primary_key=True),
        sa.Column("changes", sa.Text(), nullable=False),
        sa.Column("updated_at_us", sa.BigInteger(), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("policy_switch")
    with op.batch_alter_table("decision") as batch:
        for name, _ in reversed(_COLUMNS):
            batch.drop_column(name)
