"""Rewards of arms that did not serve: what another arm's answer would have earned.

Revision 0020, after 0019. Safe before the code: an older replica neither reads nor writes the three tables, so it
cannot take such a reward for the decision's own, nor take its row of the queue; rows go with their decision where it
prunes the log. The arm that a decision's own reward named is null in its rows.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def _decision(table: str, *, primary_key: bool = False) -> sa.Column:
    reference = sa.ForeignKey("decision.decision_id", ondelete="CASCADE", name=f"fk_{table}_decision_id_decision")
    return sa.Column("decision_id", sa.Text(), reference, nullable=False, primary_key=primary_key)


def upgrade() -> None:
    op.add_column("reward_event", sa.Column("arm", sa.Text(), nullable=True))
    op.create_table(
        "arm_reward",
        sa.Column("reward_id", sa.Text(), nullable=False),
        _decision("arm_reward"),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("arm", sa.Text(), nullable=False),
        sa.Column("identity", sa.Text(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("keyed", sa.Boolean(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("metric", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("value", sa.Double(), nullable=True),
        sa.Column("reward", sa.Double(), nullable=True),
        sa.Column("noise_variance", sa.Double(), nullable=False),
        sa.Column("late", sa.Boolean(), nullable=False),
        sa.Column("metadata", sa.Text(), nullable=False),
        sa.Column("body_hash", sa.Text(), nullable=False),
        sa.Column("received_at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("reward_id", name="pk_arm_reward"),
        sa.UniqueConstraint("identity", "revision", name="uq_arm_reward_identity_revision"),
    )
    op.create_index("ix_arm_reward_decision_id", "arm_reward", ["decision_id"])
    op.create_table(
        "arm_contribution",
        _decision("arm_contribution"),
        sa.Column("arm", sa.Text(), nullable=False),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("weight", sa.Double(), nullable=False),
        sa.Column("reward", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("decision_id", "arm", name="pk_arm_contribution"),
    )
    op.create_index("ix_arm_contribution_policy_decision_id", "arm_contribution", ["policy", "decision_id"])
    op.create_table(
        "arm_fold_queue",
        sa.Column("queue_id", sa.Text(), nullable=False),
        sa.Column("policy", sa.Text(), nullable=False),
        _decision("arm_fold_queue"),
        sa.Column("enqueued_at_us", sa.BigInteger(), nullable=False),
        sa.Column("schema_hash", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("queue_id", name="pk_arm_fold_queue"),
    )
    op.create_index(
        "ix_arm_fold_queue_policy_schema_hash_queue_id", "arm_fold_queue", ["policy", "schema_hash", "queue_id"]
    )
    op.create_index("ix_arm_fold_queue_decision_id", "arm_fold_queue", ["decision_id"])


def downgrade() -> None:
    for table in ("arm_fold_queue", "arm_contribution", "arm_reward"):
        op.drop_table(table)
    with op.batch_alter_table("reward_event") as batch:
        batch.drop_column("arm")
