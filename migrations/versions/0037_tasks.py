"""The task of a decision and the step before it; both in the view ``request_log``, too.

Revision 0037, after 0036. Safe before the code: an older replica names its columns, and leaves the new ones null.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0037"
down_revision = "0036"
branch_labels = None
depends_on = None

_COLUMNS = ("task_id", "parent_decision_id")
_INDEX = "ix_decision_task_id_decision_id"
# As revision 0030 made it, and behind that the new columns.
_BEFORE = """
SELECT
    d.decision_id, d.policy, d.created_at_us, d.request_id, d.trace_id, d.session_id, d.key_name,
    d.arm, COALESCE(u.arm, d.arm) AS served_arm, d.reason, d.propensity,
    CASE WHEN replace(d.release, '"side":"candidate"', '') <> d.release THEN 'candidate'
         WHEN replace(d.release, '"side":"incumbent"', '') <> d.release THEN 'incumbent' END AS release_side,
    u.input_tokens, u.output_tokens, u.output_chars, u.cost_usd, u.estimated, u.latency_ms, u.error, u.finish_reason,
    COALESCE(u.refusal, u.finish_reason IN ('content_filter', 'refusal')) AS refusal,
    COALESCE(u.regenerated_from, d.regenerated_from) AS regenerated_from,
    EXISTS (
        SELECT 1 FROM decision n LEFT JOIN usage_report r ON r.decision_id = n.decision_id
        WHERE n.regenerated_from = d.decision_id
          AND (r.regenerated_from IS NULL OR r.regenerated_from = d.decision_id)
    ) OR EXISTS (SELECT 1 FROM usage_report r WHERE r.regenerated_from = d.decision_id) AS regenerated,
    COALESCE(
        d.escalated_from, (SELECT max(r.decision_id) FROM usage_report r WHERE r.escalated_to = d.decision_id)
    ) AS escalated_from,
    COALESCE(
        u.escalated_to, (SELECT max(n.decision_id) FROM decision n WHERE n.escalated_from = d.decision_id)
    ) AS escalated_to,
    u.escalated_to IS NOT NULL
        OR EXISTS (SELECT 1 FROM decision n WHERE n.escalated_from = d.decision_id) AS escalated,
    c.reward, c.weight AS reward_weight,
    (SELECT avg(j.score) FROM judgement j WHERE j.decision_id = d.decision_id) AS judged_score"""
_FROM = """
FROM decision d
LEFT JOIN usage_report u ON u.decision_id = d.decision_id
LEFT JOIN contribution c ON c.decision_id = d.decision_id
"""


def _view(columns: str) -> str:
    return f"VIEW request_log AS {columns} {_FROM}"


def upgrade() -> None:
    for name in _COLUMNS:
        op.add_column("decision", sa.Column(name, sa.Text(), nullable=True))
    given = sa.text("task_id IS NOT NULL")
    op.create_index(_INDEX, "decision", ["task_id", "decision_id"], sqlite_where=given, postgresql_where=given)
    view = _view(", ".join((_BEFORE, *(f"d.{name}" for name in _COLUMNS))))
    if op.get_bind().dialect.name == "postgresql":
        op.execute(f"CREATE OR REPLACE {view}")  # who may read it still may
    else:
        op.execute("DROP VIEW request_log")
        op.execute(f"CREATE {view}")


def downgrade() -> None:
    op.execute("DROP VIEW request_log")
    op.drop_index(_INDEX, "decision")
    with op.batch_alter_table("decision") as batch:
        for name in _COLUMNS:
            batch.drop_column(name)
    op.execute(f"CREATE {_view(_BEFORE)}")
