"""How the gateway calls an arm: its upstream, the parameters of its requests, its patience.

Revision 0008, after 0007. Safe before the code: new columns have a default or may be null.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    nothing = sa.text("'{}'")
    op.add_column("arm", sa.Column("upstream", sa.Text(), nullable=True))
    op.add_column("arm", sa.Column("params", sa.Text(), server_default=nothing, nullable=False))
    op.add_column("arm", sa.Column("rename_params", sa.Text(), server_default=nothing, nullable=False))
    op.add_column("arm", sa.Column("first_token_s", sa.Double(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("arm") as batch:
        for name in ("first_token_s", "rename_params", "params", "upstream"):
            batch.drop_column(name)
