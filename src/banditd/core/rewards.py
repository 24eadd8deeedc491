"""The walk of a reward: what is submitted, what became of it, what it taught. Usage reports are beside it. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from banditd.core.attempts import Attempt
from banditd.core.references import Reference
from banditd.core.request_keys import RequestKey

OF_TASK: Final = "task"
"""The kind of a reward that a decision has by its task."""
MOST_STEPS: Final = 1000
"""Decisions of a task that is rewarded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardSubmission:
    """One reward as it was posted.

    identity : ``key:<Idempotency-Key>``, or without a key what ``source_identity`` says.
    reference : given instead of the decision's id, which is empty until the storing transaction has found it.
    body_hash : hash of everything the client sent, to tell a retry from another body under the same key.
    value : on the source's own scale; None for a thumb or a retraction.
    thumb : ``up`` | ``down``: the ends of the source's scale.
    scope : the API key (empty without one) whose key the identity is; None: the identity stands for itself.
    owner : the API key that may reward its own decisions only; None: any decision.
    arm : whose answer it is about; None: of the one that served.
    of_judge : one of the daemon's judges says it, not a client.
    steps : how many decisions the task has that it is a reward of, this one among them; 0: of this decision alone.
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
        """The same for the decision that its reference was found to mean."""
        words = source_identity(decision_id, self.metric, self.source, self.arm)
        identity = self.identity if self.keyed else words
        return replace(self, decision_id=decision_id, identity=identity)

    def of_step(self, decision_id: str, steps: int) -> RewardSubmission:
        """The same for one of the ``steps`` decisions of its task: the only word of its source on that metric."""
        identity = f"task:{decision_id} {self.metric} {self.source}"
        return replace(self, decision_id=decision_id, identity=identity, steps=steps)


@dataclass(frozen=True, slots=True)
class TaskName:
    """A task as an API key knows it: the same text under another key is another task.

    key_name : of the API key, None without API keys.
    """

    text: str
    key_name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskReceipt:
    """What became of a reward of a task.

    decisions : of the task. recorded : how many of them learn it. outweighed : how many keep it and have a reward of
    their own, which counts in its place while it stands. held : how many wait for activation. logged : how many
    never learn it. The others may not be rewarded any more.
    reward : in [0, 1]; None for a retraction. duplicate : it was there already, with as many decisions.
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
    """What makes a reward without a key the only word of a source on a metric of a decision, or of an arm on it."""
    if arm is not None:
        return f"arm:{decision_id} {metric} {source} {arm}"  # none of them has a blank
    return f"src:{decision_id}/{metric}/{source}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardReceipt:
    """What became of a submission. status: ``recorded`` | ``held`` | ``logged`` (kept, never learned).

    arm : the one that it is a reward of where another had served; None: it is the decision's own.
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

    response_id : what the upstream called its answer. session_key : of a session that goes on with the serving arm.
    refusal : the model declined. output_chars : characters of the answer. regenerated_from : the decision in place
    of whose answer this one was asked for. escalated_to : the decision, or whoever else, that took over.
    attempts : every call that it took, in order; empty where a client tells of none. The last one that answered is
    ``served_arm``, and the figures of the report are its own.
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
    """What one decision has put into the statistics: (arm, epoch), weight w and merged reward r."""

    arm: str
    epoch: int
    weight: float
    reward: float
