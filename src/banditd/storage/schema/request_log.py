"""The view ``request_log``: one row per decision with everything that belongs to its request, joined.

Made by migration 0030. It is an interface for readers outside, too: its columns stay, and further ones come behind.
Whoever puts another table in the place of one that it reads drops the view before, and makes it again.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, Connection, Double, MetaData, Table, Text, text

request_log: Final = Table(
    "request_log",
    MetaData(),  # no table of ours: neither made, copied nor emptied with them
    *[
        Column(name, Text)
        for name in ("decision_id", "policy", "request_id", "trace_id", "session_id", "key_name", "arm", "served_arm")
    ],
    Column("created_at_us", BigInteger),
    *[Column(name, Text) for name in ("reason", "release_side", "error", "finish_reason")],
    *[Column(name, BigInteger) for name in ("input_tokens", "output_tokens", "output_chars")],
    *[Column(name, Double) for name in ("propensity", "cost_usd", "latency_ms")],
    *[Column(name, Boolean) for name in ("estimated", "refusal", "regenerated", "escalated")],
    *[Column(name, Text) for name in ("regenerated_from", "escalated_from", "escalated_to")],
    *[Column(name, Double) for name in ("reward", "reward_weight", "judged_score")],
)

# As in the migration.
MADE: Final = """
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


def make_view(connection: Connection) -> None:
    """Make the view over the tables of this connection, which has none."""
    connection.execute(text(MADE))


def drop_view(connection: Connection) -> None:
    """Drop the view, where there is one."""
    connection.execute(text("DROP VIEW IF EXISTS request_log"))
