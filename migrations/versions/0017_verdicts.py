"""Sums for verdicts about fixed arms by the design's variance, for settled savings and for what trying costs.

Revision 0017, after 0016. Safe before the code: an older replica neither reads nor raises them. What was rated before
is not in them, since the older sums held decisions on which an arm could not be drawn; ``banditd rebuild`` counts the
whole log anew. Where an older replica refolds a decision meanwhile they miss that correction until then.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

_WHOLE = (
    "supported_rewards", "unsupported_rewards", "drawn_rewards", "compared_decisions", "tried_decisions",
)  # fmt: skip
_REAL = (
    "fixed_reward_sum", "fixed_gain_sum", "inverse_probability_sum", "residual_power", "compared_usd",
    "compared_fixed_usd", "tried_usd", "tried_reward",
)  # fmt: skip
_TABLES = ("rollup", "arm_total")


def upgrade() -> None:
    for table in _TABLES:
        for name in _WHOLE:
            op.add_column(table, sa.Column(name, sa.BigInteger(), nullable=False, server_default=sa.text("0")))
        for name in _REAL:
            op.add_column(table, sa.Column(name, sa.Double(), nullable=False, server_default=sa.text("0")))
    op.add_column(
        "contribution", sa.Column("estimated_by_design", sa.Boolean(), nullable=False, server_default=sa.false())
    )


def downgrade() -> None:
    with op.batch_alter_table("contribution") as batch:
        batch.drop_column("estimated_by_design")
    for table in _TABLES:
        with op.batch_alter_table(table) as batch:
            for name in (*_WHOLE, *_REAL):
                batch.drop_column(name)
