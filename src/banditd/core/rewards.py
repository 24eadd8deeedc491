"""Types of the reward path: what is submitted, what became of it, and what it taught; usage reports too. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from banditd.core.attempts import Attempt
from banditd.core.references import Reference
from banditd.core.request_keys import RequestKey

OF_TASK: Final = "task"
"""The kind of a reward that a decision received through its task."""
MOST_STEPS: Final = 1000
"""Most decisions of a task that can be rewarded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardSubmission:
    """One reward as it was posted.

    identity : ``key:<Idempotency-Key>``, or without a key what ``source_identity`` returns.
    reference : given instead of the decision's id, which is empty until the storing transaction has looked it up.
    body_hash : hash of everything the client sent, to tell a retry from another body under the same key.
    value : on the source's own scale; None for a thumb or a retraction.
    thumb : ``up`` | ``down``: the ends of the source's scale.
    scope : name of the API key in whose scope the identity is unique (empty without one); None: unique everywhere.
    owner : name of an API key that may only reward its own decisions; None: any decision.
    arm : whose answer the reward is about; None: the arm that served.
    of_judge : whether one of the daemon's judges submitted it, rather than a client.
    steps : number of decisions in the task that is rewarded, counting this one; 0: the reward is for this decision
    alone.
    """

    decision_id: str
    identity: str
    keyed: bool
    body_hash: str
    metric: str
    source: str
    value: float | None
    retract: bool
    metadata: Mapping[str, object]
    received_at_us: int
    thumb: str | None = None
    reference: Reference | None = None
    scope: str | None = None
    owner: str | None = None
    arm: str | None = None
    of_judge: bool = False
    steps: int = 0

    def about(self, decision_id: str) -> RewardSubmission:
        """The same submission for the decision that its reference stands for."""
        words = source_identity(decision_id, self.metric, self.source, self.arm)
        identity = self.identity if self.keyed else words
        return replace(self, decision_id=decision_id, identity=identity)

    def of_step(self, decision_id: str, steps: int) -> RewardSubmission:
        """The same submission for one of the ``steps`` decisions of its task, where it is the source's only reward
        of that metric.
        """
        identity = f"task:{decision_id} {self.metric} {self.source}"
        return replace(self, decision_id=decision_id, identity=identity, steps=steps)


@dataclass(frozen=True, slots=True)
class TaskName:
    """A task in the scope of one API key: the same text under another key is another task.

    key_name : name of the API key, None without API keys.
    """

    text: str
    key_name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskReceipt:
    """What became of a task's reward.

    decisions : number of decisions in the task.
    recorded : decisions that learn it.
    outweighed : decisions that store it but have a reward of their own, which counts instead for as long as it
    stands.
    held : decisions that wait for activation. logged : decisions that never learn it. All others can no longer be
    rewarded.
    reward : in [0, 1]; None for a retraction.
    duplicate : whether it was stored before, for as many decisions.
    """

    task_id: str
    decisions: int
    recorded: int
    outweighed: int
    held: int
    logged: int
    reward: float | None
    duplicate: bool


def source_identity(decision_id: str, metric: str, source: str, arm: str | None = None) -> str:
    """The identity of a reward without a key: a source has one reward per metric and decision (or arm on a
    decision).
    """
    if arm is not None:
        return f"arm:{decision_id} {metric} {source} {arm}"  # none of them has a blank
    return f"src:{decision_id}/{metric}/{source}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardReceipt:
    """What became of a submission. status: ``recorded`` | ``held`` | ``logged`` (stored, never learned).

    arm : the arm it is about, if that is not the arm that served; else None.
    """

    reward_id: str
    decision_id: str
    status: str
    duplicate: bool
    revision: int
    reward: float | None
    late: bool = False
    arm: str | None = None


class UsageReport(NamedTuple):
    """What a served decision really cost. ``served_arm`` is None when the chosen arm served.

    response_id : the upstream's id of its answer.
    session_key : of the session that continues with the serving arm.
    refusal : whether the model declined. output_chars : length of the answer.
    regenerated_from : the decision whose answer this one replaces.
    escalated_to : the decision, or anybody else, that took over.
    attempts : all calls, in order; empty if the client reports none. The last one that answered is ``served_arm``,
    and the report's figures are that call's.
    """

    decision_id: str
    served_arm: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_input_tokens: int | None = None
    cost_usd: float | None = None
    latency_ms: float | None = None
    error: str | None = None
    finish_reason: str | None = None
    response_id: str | None = None
    refusal: bool | None = None
    output_chars: int | None = None
    regenerated_from: str | None = None
    escalated_to: str | None = None
    session_key: str | None = None
    attempts: tuple[Attempt, ...] = ()
    body_hash: str = ""
    received_at_us: int = 0
    request_key: RequestKey | None = None
    owner: str | None = None


@dataclass(frozen=True, slots=True)
class RewardEvent:
    """An active reward of a decision, normalised to [0, 1]. ``kind``: ``reward`` | ``default``."""

    reward: float
    noise_variance: float
    kind: str
    created_at_us: int
    metric: str = ""


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one decision has added to the statistics: (arm, epoch), weight w and merged reward r."""

    arm: str
    epoch: int
    weight: float
    reward: float
