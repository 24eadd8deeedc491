"""Decisions have a reference of their client's, usage reports the id that the upstream gave its answer.

Revision 0015, after 0014. Safe before the code: older replicas write rows without them.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("decision", sa.Column("reference", sa.Text(), nullable=True))
    op.add_column("usage_report", sa.Column("response_id", sa.Text(), nullable=True))
    op.create_index(
        op.f("ix_decision_reference_key_name_decision_id"),
        "decision",
        ["reference", "key_name", "decision_id"],
        sqlite_where=sa.text("reference IS NOT NULL"),
        postgresql_where=sa.text("reference IS NOT NULL"),
    )
    op.create_index(
        op.f("ix_usage_report_response_id"),
        "usage_report",
        ["response_id"],
        sqlite_where=sa.text("response_id IS NOT NULL"),
        postgresql_where=sa.text("response_id IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index(op.f("ix_usage_report_response_id"), table_name="usage_report")
    op.drop_index(op.f("ix_decision_reference_key_name_decision_id"), table_name="decision")
    op.drop_column("usage_report", "response_id")
    op.drop_column("decision", "reference")
