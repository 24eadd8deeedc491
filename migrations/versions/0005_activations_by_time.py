"""An index of activations by time, for the jobs that look at decisions activated since their last run.

Revision 0005, after 0004. Safe before the code.
"""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(op.f("ix_activation_policy_activated_at_us"), "activation", ["policy", "activated_at_us"])


def downgrade() -> None:
    op.drop_index(op.f("ix_activation_policy_activated_at_us"), table_name="activation")
