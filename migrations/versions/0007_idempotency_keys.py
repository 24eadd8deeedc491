"""Keys of requests that were answered, and the name of the API key that asked for a decision.

Revision 0007, after 0006. Safe before the code: an old replica writes no keys and leaves the name empty.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("decision", sa.Column("key_name", sa.Text(), nullable=True))
    op.create_table(
        "idempotency_key",
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("key_name", sa.Text(), nullable=False),
        sa.Column("operation", sa.Text(), nullable=False),
        sa.Column("idempotency_key", sa.Text(), nullable=False),
        sa.Column("item", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("request_hash", sa.Text(), nullable=False),
        sa.Column("decision_id", sa.Text(), nullable=True),
        sa.Column("answer", sa.Text(), nullable=True),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "policy", "key_name", "operation", "idempotency_key", "item", name=op.f("pk_idempotency_key")
        ),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_idempotency_key_created_at_us"), "idempotency_key", ["created_at_us"])


def downgrade() -> None:
    op.drop_table("idempotency_key")
    with op.batch_alter_table("decision") as batch:
        batch.drop_column("key_name")
