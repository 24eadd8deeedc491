"""Counters by the tags of queries, the values that have rows of their own, names of clusters.

Revision 0018, after 0017. Safe before the code: decisions that older replicas make are in no counter by tag, and
those that are there already never will be: the log is not counted again.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

INTEGERS = (
    "decisions",
    "explored",
    "greedy",
    "fixed_decisions",
    "degraded",
    "rewards",
    "usage_reports",
    "input_tokens",
    "output_tokens",
    "latency_reports",
    "errors",
    "cached_input_tokens",
    "supported_rewards",
    "unsupported_rewards",
    "drawn_rewards",
    "compared_decisions",
    "tried_decisions",
)
FLOATS = (
    "entropy_sum",
    "predicted_spend_usd",
    "fixed_cost_usd",
    "weight",
    "weighted_reward",
    "weighted_square",
    "spend_usd",
    "latency_ms_sum",
    "fixed_reward_sum",
    "fixed_gain_sum",
    "inverse_probability_sum",
    "residual_power",
    "compared_usd",
    "compared_fixed_usd",
    "tried_usd",
    "tried_reward",
)
CLUSTER_INTEGERS = ("decisions", "rewards", "latency_reports")
CLUSTER_FLOATS = ("weight", "weighted_reward", "weighted_square", "spend_usd", "latency_ms_sum")
COUNTED = "tags:counted_after_us"


def upgrade() -> None:
    _create("tag_entry", "entry_id", others=[_text("policy"), _text("kind"), _text("sums")])
    _create("tag_value", "policy", "tag", "value", others=[_count("decisions"), _time("last_at_us")])
    sums = [*map(_count, INTEGERS), *map(_double, FLOATS)]
    _create("tag_rollup", "policy", "tag", "value", _time("bucket_at_us"), _small("bucket_s"), "arm", others=sums)
    op.create_index("ix_tag_rollup_bucket_s_bucket_at_us", "tag_rollup", ["bucket_s", "bucket_at_us"])
    sums = [*map(_count, INTEGERS), *map(_double, FLOATS)]
    _create("tag_total", "policy", "tag", "value", "arm", others=sums)
    sums = [*map(_count, CLUSTER_INTEGERS), *map(_double, CLUSTER_FLOATS)]
    _create("tag_cluster", "policy", "schema_hash", "tag", "value", _small("cluster"), "arm", others=sums)
    _create("cluster_name", "policy", "maps", _small("cluster"), others=[_text("name"), _time("updated_at_us")])
    connection = op.get_bind()
    newest = connection.execute(sa.text("SELECT max(created_at_us) FROM decision")).scalar()
    if newest is not None:
        row = {"job": COUNTED, "cursor": newest}
        connection.execute(sa.text("INSERT INTO job_run (job, cursor) VALUES (:job, :cursor)"), row)


def downgrade() -> None:
    for name in (
        "cluster_name",
        "tag_cluster",
        "tag_total",
        "tag_rollup",
        "tag_value",
        "tag_entry",
    ):
        op.drop_table(name)
    op.get_bind().execute(sa.text("DELETE FROM job_run WHERE job = :job"), {"job": COUNTED})


def _create(name: str, *key: str | sa.Column, others: list[sa.Column]) -> None:
    columns = [_text(one) if isinstance(one, str) else one for one in key]
    primary = sa.PrimaryKeyConstraint(*(column.name for column in columns), name=op.f(f"pk_{name}"))
    op.create_table(name, *columns, *others, primary, sqlite_with_rowid=False)


def _text(name: str) -> sa.Column:
    return sa.Column(name, sa.Text(), nullable=False)


def _time(name: str) -> sa.Column:
    return sa.Column(name, sa.BigInteger(), nullable=False, autoincrement=False)


def _small(name: str) -> sa.Column:
    return sa.Column(name, sa.Integer(), nullable=False, autoincrement=False)


def _count(name: str) -> sa.Column:
    return sa.Column(name, sa.BigInteger(), nullable=False, server_default=sa.text("0"))


def _double(name: str) -> sa.Column:
    return sa.Column(name, sa.Double(), nullable=False, server_default=sa.text("0"))
