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
    policy_switch,
    secret,
    settling,
)
from banditd.storage.schema.candidates import candidate, candidate_shadow, evaluation, shadow_decision, shadow_sum
from banditd.storage.schema.columns import metadata
from banditd.storage.schema.judging import (
    JUDGE_SUMS,
    PROBE_SUMS,
    comparison,
    comparison_task,
    golden_case,
    golden_watch,
    judge_account,
    judge_refusal,
    judge_task,
    judgement,
    probe,
    probe_account,
    probe_answer,
    probe_judgement,
)
from banditd.storage.schema.learning import (
    CLUSTER_FLOAT_SUMS,
    CLUSTER_INTEGER_SUMS,
    CLUSTER_SUMS,
    FLOAT_SUMS,
    INTEGER_SUMS,
    SUMS,
    arm_contribution,
    arm_fold_queue,
    arm_total,
    cluster_stat,
    context_value,
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
    archived_part,
    arm_reward,
    attempt,
    decision,
    idempotency_key,
    reward_event,
    session,
    usage_report,
    usage_revision,
)
from banditd.storage.schema.releases import (
    anchor_event,
    anchor_segment,
    policy_anchor,
    policy_promotion,
    policy_release,
    release_event,
    release_point,
    release_unit,
)
from banditd.storage.schema.tags import (
    cluster_name,
    tag_cluster,
    tag_entry,
    tag_rollup,
    tag_total,
    tag_value,
)
