"""What belongs to a request, joined: its ids, refusal, regeneration, escalation, length; the view ``request_log``.

Revision 0030, after 0029. Safe before the code: an older replica names its columns, and leaves the new ones null. The
view's columns are an interface: later ones may be added behind them.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None

_OF_DECISION = ("request_id", "trace_id", "regenerated_from", "escalated_from")
_OF_USAGE = ("regenerated_from", "escalated_to")
_ESCALATED = "ix_usage_report_decision_id_escalated"

# A report's word comes before the request's, and a stated refusal before the one that the finish reason tells. What
# followed is found by the ids that later decisions name; ``replace`` instead of LIKE or JSON: both databases have it,
# and a damaged row does not end a query.
VIEW = """
CREATE VIEW request_log AS
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
    (SELECT avg(j.score) FROM judgement j WHERE j.decision_id = d.decision_id) AS judged_score
FROM decision d
LEFT JOIN usage_report u ON u.decision_id = d.decision_id
LEFT JOIN contribution c ON c.decision_id = d.decision_id
"""


def upgrade() -> None:
    for name in _OF_DECISION:
        op.add_column("decision", sa.Column(name, sa.Text(), nullable=True))
        _index("decision", name)
    op.add_column("usage_report", sa.Column("refusal", sa.Boolean(), nullable=True))
    op.add_column("usage_report", sa.Column("output_chars", sa.BigInteger(), nullable=True))
    for name in _OF_USAGE:
        op.add_column("usage_report", sa.Column(name, sa.Text(), nullable=True))
        _index("usage_report", name)
    given = sa.text("escalated_to IS NOT NULL")
    op.create_index(_ESCALATED, "usage_report", ["decision_id"], sqlite_where=given, postgresql_where=given)
    op.execute(VIEW)


def _index(table: str, column: str) -> None:
    given = sa.text(f"{column} IS NOT NULL")
    op.create_index(f"ix_{table}_{column}", table, [column], sqlite_where=given, postgresql_where=given)


def downgrade() -> None:
    op.execute("DROP VIEW request_log")
    op.drop_index(_ESCALATED, "usage_report")
    for table, columns in (("usage_report", _OF_USAGE), ("decision", _OF_DECISION)):
        for name in columns:
            op.drop_index(f"ix_{table}_{name}", table)
    with op.batch_alter_table("usage_report") as batch:
        for name in ("refusal", "output_chars", *_OF_USAGE):
            batch.drop_column(name)
    with op.batch_alter_table("decision") as batch:
        for name in _OF_DECISION:
            batch.drop_column(name)
