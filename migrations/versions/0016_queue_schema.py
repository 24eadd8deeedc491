"""Rows of the learner's queue that wait for a learner of another feature schema say so in a column of their own.

Revision 0016, after 0015. Safe before the code: an older replica that leads takes such rows for rows of its policy
and sets them aside anew, in its own way ("policy hash"), which this release still understands.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_QUEUE = sa.table("fold_queue", sa.column("policy", sa.Text()), sa.column("schema_hash", sa.Text()))
_BY_POLICY = "ix_fold_queue_policy_queue_id"
_BY_SCHEMA = "ix_fold_queue_policy_schema_hash_queue_id"


def upgrade() -> None:
    op.add_column("fold_queue", sa.Column("schema_hash", sa.Text(), nullable=True))
    connection = op.get_bind()
    aside = sa.select(_QUEUE.c.policy).where(_QUEUE.c.policy.like("% %")).distinct()
    for composed in connection.execute(aside).scalars().all():
        policy, schema_hash = composed.split(" ", 1)
        rows = sa.update(_QUEUE).where(_QUEUE.c.policy == composed)
        connection.execute(rows.values(policy=policy, schema_hash=schema_hash))
    op.create_index(_BY_SCHEMA, "fold_queue", ["policy", "schema_hash", "queue_id"])
    op.drop_index(_BY_POLICY, table_name="fold_queue")


def downgrade() -> None:
    connection = op.get_bind()
    aside = sa.select(_QUEUE.c.policy, _QUEUE.c.schema_hash).where(_QUEUE.c.schema_hash.is_not(None)).distinct()
    for row in connection.execute(aside).all():
        rows = sa.update(_QUEUE).where(_QUEUE.c.policy == row.policy, _QUEUE.c.schema_hash == row.schema_hash)
        connection.execute(rows.values(policy=f"{row.policy} {row.schema_hash}"))
    op.create_index(_BY_POLICY, "fold_queue", ["policy", "queue_id"])
    op.drop_index(_BY_SCHEMA, table_name="fold_queue")
    with op.batch_alter_table("fold_queue") as batch:
        batch.drop_column("schema_hash")
