"""What becomes of a submitted reward: pure rules, called inside the storing transaction.

Identity comes first (a retry must get the answer of the first attempt, however late it is), then the window, then the
source's scale. Nothing here reads a clock or a database.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isclose

from banditd.core.errors import (
    BanditdError,
    ConflictError,
    ForbiddenError,
    GoneError,
    InvalidInputError,
    NotFoundError,
)
from banditd.core.references import Reference
from banditd.core.rewards import OF_TASK, RewardSubmission
from banditd.ports import DecisionFacts, StoredReward, Verdict
from banditd.services.learning.folding import noise_of_share
from banditd.services.policy import RewardRules, SourceRule

# Identity of the default reward that the daemon gives when the window closes; clients cannot use it.
DEFAULT_IDENTITY = "default:"


def judge_reward(
    submission: RewardSubmission,
    facts: DecisionFacts | None,
    stored: StoredReward | None,
    rules_by_policy: Mapping[str, RewardRules],
) -> Verdict:
    """Decide on one submission.

    Parameters
    ----------
    submission : what was posted.
    facts : the decision it refers to, or None if there is none.
    stored : newest revision under the same identity, or None.
    rules_by_policy : the operator's rules.
    """
    if facts is not None:
        refused = _judge_owner(submission, facts) or _judge_source(submission, rules_by_policy.get(facts.policy))
        if refused is not None:
            return refused
    if stored is not None:
        repeated = _judge_repeated(submission, stored, None if facts is None else rules_by_policy.get(facts.policy))
        if repeated is not None:
            return repeated
    if facts is None:
        return _refuse(
            unknown_reference(submission.reference)
            if submission.reference is not None
            else NotFoundError(
                f"no decision {submission.decision_id}: it was never made here, or retention has deleted it",
                code="DECISION_NOT_FOUND",
                field="/decision_id",
            )
        )
    if facts.abandoned:
        return _refuse(
            ConflictError(
                f"decision {submission.decision_id} was abandoned: it counts as never served and teaches nothing",
                code="DECISION_ABANDONED",
                field="/decision_id",
            )
        )
    rules = rules_by_policy.get(facts.policy)
    if rules is None:
        return _refuse(NotFoundError(f"policy {facts.policy} is no longer configured", code="POLICY_UNKNOWN"))
    if submission.retract:
        return _judge_retraction(submission, stored)
    return _judge_new(submission, facts, stored, rules)


def _judge_owner(submission: RewardSubmission, facts: DecisionFacts) -> Verdict | None:
    """Refuse another tenant's decision, for a key that may only reward its own.

    Decisions without a key are anybody's.
    """
    if submission.owner is None or facts.key_name in {None, submission.owner}:
        return None
    return _refuse(
        ForbiddenError(
            f"decision {submission.decision_id} was made with another API key, and this key only has the scope "
            "reward:own; the scope reward covers every decision",
            code="DECISION_OF_ANOTHER_KEY",
            field="/decision_id",
        )
    )


def _judge_source(submission: RewardSubmission, rules: RewardRules | None) -> Verdict | None:
    """Refuse a client that poses as one of the daemon's judges: verdicts come only once and with their
    probability.
    """
    source = None if rules is None else rules.sources.get(submission.source)
    if source is None or not source.of_judge or submission.of_judge:
        return None
    return _refuse(
        ForbiddenError(
            f"source {submission.source} is a judge of this daemon, whose verdicts become rewards automatically: "
            "submit them with POST /v1/judge-tasks/{id}/result, or give this reward another source",
            code="SOURCE_OF_JUDGE",
            field="/source",
        )
    )


def _judge_repeated(submission: RewardSubmission, stored: StoredReward, rules: RewardRules | None) -> Verdict | None:
    """The verdict on a retry or a key used twice; None for a correction or retraction of what is stored."""
    if submission.keyed:
        if stored.body_hash == submission.body_hash:
            return Verdict(duplicate_of=stored)
        if submission.retract and stored.decision_id == submission.decision_id:
            return Verdict(duplicate_of=stored) if stored.kind == "retraction" else None
        return _refuse(
            ConflictError(
                "this Idempotency-Key was used for another reward; use a new key for a new reward",
                code="IDEMPOTENCY_KEY_REUSED",
                field="/idempotency_key",
            )
        )
    if submission.retract:
        return Verdict(duplicate_of=stored) if stored.kind == "retraction" else None
    if stored.kind != "retraction" and _same_value(submission, stored) and _same_share(submission, stored, rules):
        return Verdict(duplicate_of=stored)
    return None


def _same_share(submission: RewardSubmission, stored: StoredReward, rules: RewardRules | None) -> bool:
    """Whether the task still has as many decisions as when it was last rewarded."""
    source = None if rules is None else rules.sources.get(submission.source)
    if not submission.steps or source is None:
        return True
    return isclose(stored.noise_variance, noise_of_share(source.noise_variance, submission.steps))


def _same_value(submission: RewardSubmission, stored: StoredReward) -> bool:
    if submission.thumb is not None:
        return stored.reward == (1.0 if submission.thumb == "up" else 0.0)
    return stored.value == submission.value


def _judge_retraction(submission: RewardSubmission, stored: StoredReward | None) -> Verdict:
    if stored is None:
        return _refuse(
            NotFoundError(
                f"there is no reward of metric {submission.metric} from source {submission.source}"
                f"{'' if submission.arm is None else f' of arm {submission.arm}'} to retract",
                code="REWARD_NOT_FOUND",
            )
        )
    # The newest revision may be a correction that was only logged; then an earlier one was learned.
    status = "held" if stored.status == "held" else "recorded"
    return Verdict(kind="retraction", status=status, revision=stored.revision + 1, late=stored.late)


def _judge_new(
    submission: RewardSubmission, facts: DecisionFacts, stored: StoredReward | None, rules: RewardRules
) -> Verdict:
    if submission.arm is not None:
        refused = _judge_arm(submission.arm, facts)
        if refused is not None:
            return refused
    source = rules.sources.get(submission.source)
    if source is None:
        return _refuse(
            InvalidInputError(
                f"unknown source {submission.source}; policy {facts.policy} knows {', '.join(rules.sources)}",
                code="SOURCE_UNKNOWN",
                field="/source",
            )
        )
    if submission.thumb is not None:
        reward: float | None = 1.0 if submission.thumb == "up" else 0.0
    else:
        reward = normalise(submission.value, source)
    if reward is None:
        return _refuse(
            InvalidInputError(
                f"value {submission.value} is outside the scale of source {submission.source}: "
                f"{source.minimum:g} to {source.maximum:g}",
                code="VALUE_OUT_OF_RANGE",
                field="/value",
            )
        )
    default = submission.identity.startswith(DEFAULT_IDENTITY)
    late = submission.received_at_us > facts.expires_at_us and not default
    if late and rules.late_policy == "reject":
        return _refuse(GoneError("the reward window of this decision has closed", field="/decision_id"))
    learned = source.learn and submission.metric not in rules.log_only_metrics
    if not learned or (late and rules.late_policy == "log"):
        status = "logged"
    elif facts.deferred and not facts.activated:
        status = "held"
    else:
        status = "recorded"
    revision = 0 if stored is None else stored.revision + 1
    return Verdict(
        kind="default" if default else OF_TASK if submission.steps else "reward",
        status=status,
        revision=revision,
        reward=reward,
        noise_variance=noise_of_share(source.noise_variance, submission.steps or 1),
        late=late,
    )


def _judge_arm(arm: str, facts: DecisionFacts) -> Verdict | None:
    """Refuse an arm that the decision could not have had: neither eligible nor excluded when it was made."""
    if facts.arms is None:
        return _refuse(
            ConflictError(
                f"the stored row of decision {facts.decision_id} is damaged and its arms cannot be read, so it only "
                "takes rewards without an arm",
                code="DECISION_DAMAGED",
                field="/arm",
            )
        )
    if arm in facts.arms:
        return None
    return _refuse(
        InvalidInputError(
            f"policy {facts.policy} had no arm {arm} when decision {facts.decision_id} was made: it had "
            f"{', '.join(facts.arms)}. Name one of these, or leave arm out to reward the answer that was served; an "
            "arm added later can only be rewarded on later decisions",
            code="ARM_UNKNOWN",
            field="/arm",
        )
    )


def normalise(value: float | None, source: SourceRule) -> float | None:
    """Map a value from the source's scale onto [0, 1]; None outside the scale."""
    if value is None or not source.minimum <= value <= source.maximum:
        return None
    return (value - source.minimum) / (source.maximum - source.minimum)


def unknown_reference(reference: Reference) -> NotFoundError:
    """The error for a reference that no decision has."""
    return NotFoundError(
        f"no decision of this API key has the reference {reference.text[:80]!r}: send it with the query (reference, "
        "x-banditd-reference) under the same API key, or use the decision's id; retention may have deleted it",
        code="DECISION_NOT_FOUND",
        field="/reference",
    )


def is_unknown_reference(outcome: object) -> bool:
    """Whether the outcome is that error."""
    return isinstance(outcome, NotFoundError) and outcome.field == "/reference"


def _refuse(error: BanditdError) -> Verdict:
    return Verdict(error=error)
