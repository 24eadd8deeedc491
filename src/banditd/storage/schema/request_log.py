"""The view ``request_log``: one row per decision with everything that belongs to its request, joined.

Made by migrations 0030 and 0037. It is an interface for readers outside, too: its columns stay, and further ones come
behind.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, Double, MetaData, Table, Text

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
    *[Column(name, Text) for name in ("task_id", "parent_decision_id")],
)
