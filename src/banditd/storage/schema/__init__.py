"""The tables. Not the history of them: that is in ``migrations/``, and a test holds the two equal.

Every id is a UUIDv7 as text, every time is integer microseconds (``*_at_us``), vectors are little-endian
blobs and mappings JSON text, so that both databases store and compare the same values. Counters that many
replicas raise carry a ``writer``: each replica raises its own rows, readers add them up.
"""

from banditd.storage.schema.arms import (
    arm,
    arm_price,
    budget_account,
    budget_correction,
    budget_state,
    job_run,
    lease,
    policy,
    secret,
)
from banditd.storage.schema.columns import metadata
from banditd.storage.schema.learning import (
    CLUSTER_FLOAT_SUMS,
    CLUSTER_INTEGER_SUMS,
    CLUSTER_SUMS,
    FLOAT_SUMS,
    INTEGER_SUMS,
    SUMS,
    arm_total,
    cluster_stat,
    contribution,
    delay_count,
    fold_queue,
    learner_state,
    rollup,
    row_count,
    segment,
    snapshot,
    sum_entry,
)
from banditd.storage.schema.log import (
    abandonment,
    activation,
    attempt,
    decision,
    idempotency_key,
    reward_event,
    session,
    usage_report,
    usage_revision,
)

__all__ = [
    "CLUSTER_FLOAT_SUMS",
    "CLUSTER_INTEGER_SUMS",
    "CLUSTER_SUMS",
    "FLOAT_SUMS",
    "INTEGER_SUMS",
    "SUMS",
    "abandonment",
    "activation",
    "arm",
    "arm_price",
    "arm_total",
    "attempt",
    "budget_account",
    "budget_correction",
    "budget_state",
    "cluster_stat",
    "contribution",
    "decision",
    "delay_count",
    "fold_queue",
    "idempotency_key",
    "job_run",
    "learner_state",
    "lease",
    "metadata",
    "policy",
    "reward_event",
    "rollup",
    "row_count",
    "secret",
    "segment",
    "session",
    "snapshot",
    "sum_entry",
    "usage_report",
    "usage_revision",
]
