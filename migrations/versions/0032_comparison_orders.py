"""Of comparisons what was said in each order, how long the answers were, and the task that they were.

Revision 0032, after 0031. Safe before the code: an older replica leaves the new columns empty.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None

TEXTS = ("task_id", "served_first", "baseline_first")
LENGTHS = ("served_chars", "answer_chars")


def upgrade() -> None:
    for name in TEXTS:
        op.add_column("comparison", sa.Column(name, sa.Text(), nullable=True))
    for name in LENGTHS:
        op.add_column("comparison", sa.Column(name, sa.Integer(), nullable=True))
    op.create_index("ix_comparison_task_id", "comparison", ["task_id"])


def downgrade() -> None:
    op.drop_index("ix_comparison_task_id", "comparison")
    with op.batch_alter_table("comparison") as batch:
        for name in (*TEXTS, *LENGTHS):
            batch.drop_column(name)
