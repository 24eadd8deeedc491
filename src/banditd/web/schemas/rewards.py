"""Schemas of rewards, usage reports and activation."""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self

from pydantic import ConfigDict, Field, RootModel, StringConstraints, ValidationInfo, field_validator, model_validator

from banditd.core.attempts import MAX_ATTEMPTS
from banditd.web.schemas.base import (
    MAX_BATCH,
    AnswerModel,
    DecisionName,
    Dollars,
    Identifier,
    Label,
    Metadata,
    Name,
    RequestModel,
    Time,
    Tokens,
)
from banditd.web.schemas.problem import ItemError

MAX_CHARS: Final = 1_000_000_000
KEY_PATTERN = r"^[\x21-\x7e]+$"
IdempotencyKey = Annotated[str, StringConstraints(pattern=KEY_PATTERN, min_length=1, max_length=255)]


Milliseconds = Annotated[float, Field(ge=0.0, le=1e9)]


class RewardRequest(RequestModel):
    """One reward for one decision, or for a task: exactly one of ``value``, ``thumb`` and ``retract: true``, and one
    of ``decision_id``, ``reference`` and ``task_id``.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {"required": ["value"], "properties": {"value": {"type": "number"}}},
                {"required": ["thumb"], "properties": {"thumb": {"type": "string"}}},
                {"required": ["retract"], "properties": {"retract": {"const": True}}},
            ],
            "anyOf": [
                {"required": ["decision_id"], "properties": {"decision_id": {"type": "string"}}},
                {"required": ["reference"], "properties": {"reference": {"type": "string"}}},
                {"required": ["task_id"], "properties": {"task_id": {"type": "string"}}},
            ],
            "examples": [{"decision_id": "01890a5d-ac96-774b-bcce-b302099a8057", "value": 0.8, "source": "judge"}],
        }
    )

    reference: Label | None = None
    """What you called the decision by when you asked for it, or the id of the upstream's answer, instead of
    ``decision_id``. Of several decisions the newest one is meant, and only those of your own API key."""
    task_id: Label | None = None
    """A task of your own API key, instead of a decision: each of the decisions that it has now, and that have no
    reward of their own, learns from it with its share of the weight. Not in a list."""
    decision_id: Annotated[DecisionName | None, Field(validate_default=True)] = None
    """A decision's id, also as an answer has it (``chatcmpl-<id>``)."""
    arm: Name | None = None
    """Whose answer it is about: of an arm that did not serve, what its answer would have earned. Left out, or the arm
    that served (``served_arm`` of the usage report, else the chosen one): the reward of the decision itself."""
    value: Annotated[float, Field(ge=-1e6, le=1e6)] | None = None
    """On the source's own scale (0 to 1 unless configured otherwise)."""
    thumb: Literal["up", "down"] | None = None
    retract: bool = False
    """Take back what this source said of this metric, of ``arm`` where one is named (or what was sent under this
    key)."""
    metric: Name = "quality"
    """What was measured. One decision may be rewarded on several metrics."""
    source: Name = "human"
    """Who says so: human, judge, metric, implicit, or another source of the configuration."""
    idempotency_key: IdempotencyKey | None = None
    """In a list: this item's key. For a single reward the header ``Idempotency-Key`` does the same."""
    metadata: Metadata = Field(default_factory=dict)
    """Kept with the reward, never read. At most 64 fields and 16,384 characters."""

    @field_validator("decision_id", mode="after")
    @classmethod
    def _of_which(cls, decision_id: str | None, info: ValidationInfo) -> str | None:
        named = (decision_id, info.data.get("reference"), info.data.get("task_id"))
        if sum(one is not None for one in named) != 1:
            raise ValueError("give either decision_id or reference, or the task_id of a whole task")
        return decision_id

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.value is not None) + (self.thumb is not None) + self.retract != 1:
            raise ValueError("give exactly one of value, thumb, retract: true")
        if self.task_id is not None and self.arm is not None:
            raise ValueError("a task is of many arms: leave arm out, or reward its decisions")
        return self


class RewardBody(
    RootModel[RewardRequest | Annotated[list[RewardRequest], Field(min_length=1, max_length=MAX_BATCH)]]
):
    """One reward, or a list of at most ``server.max_batch`` (256 unless configured otherwise)."""


class RewardReceiptAnswer(AnswerModel):
    """What became of a reward. It is durable."""

    reward_id: Identifier
    decision_id: Identifier
    status: Literal["recorded", "held", "logged"]
    """``recorded``: will be learned. ``held``: waits for activation. ``logged``: kept, never learned."""
    duplicate: bool
    """It was there already; nothing was counted again."""
    revision: Annotated[int, Field(ge=0)]
    """0 for the first, then one more for every correction or retraction."""
    reward: float | None
    """Normalised to [0, 1]; null after a retraction."""
    late: bool
    """It came after the decision's ``expires_at``."""
    arm: str | None
    """The arm that it is a reward of, where another one served; null: it is the decision's own."""


class TaskReceiptAnswer(AnswerModel):
    """What became of a reward of a task. It is durable."""

    task_id: str
    decisions: int
    """Of the task; each has such a part of the weight."""
    recorded: int
    """How many of them learn it, unless a reward of their own comes later."""
    outweighed: int
    """How many keep it and have a reward of their own, which counts in its place."""
    held: int
    """How many wait for activation."""
    logged: int
    """How many keep it and never learn it. Those that are left may not be rewarded any more."""
    reward: float | None
    """Normalised to [0, 1]; null after a retraction."""
    duplicate: bool
    """It was there already, of as many decisions; nothing was counted again."""


class RewardItem(AnswerModel):
    """What became of one reward of a list: a receipt or an error."""

    index: int
    status_code: int
    receipt: RewardReceiptAnswer | None = None
    error: ItemError | None = None


class RewardListAnswer(AnswerModel):
    """One result per reward, in order."""

    results: list[RewardItem]


class RewardAnswer(RootModel[RewardReceiptAnswer | TaskReceiptAnswer | RewardListAnswer]):
    """A receipt for one reward, results for a list."""


class AttemptRequest(RequestModel):
    """One call of an upstream. Figures are those of this call alone."""

    arm: Name
    error: Label | None = None
    """Why it failed; left out where it answered. ``transport``, ``timeout``, ``overload``, ``server``, ``auth``,
    ``request``, ``context``, ``policy`` or ``client_gone``; other words are understood as one of these."""
    latency_ms: Milliseconds | None = None
    input_tokens: Tokens | None = None
    output_tokens: Tokens | None = None
    cached_input_tokens: Tokens | None = None
    cost_usd: Dollars | None = None
    retry_after_s: Annotated[float, Field(ge=0.0, le=1e9)] | None = None
    """How long an overloaded upstream asked to be left alone: its arm is, for so long (at most an hour)."""
    first_token_ms: Milliseconds | None = None
    """Time to its first token."""

    @model_validator(mode="after")
    def _check_cached(self) -> Self:
        _check_cached(self.input_tokens, self.cached_input_tokens)
        return self


class UsageRequest(RequestModel):
    """What a decision really cost. Tokens are enough: the arm's price is applied.

    Reports of a decision are merged: what one gives completes or corrects what was known, what it leaves out stays.
    """

    served_arm: Name | None = None
    """The arm that answered, when it was not the chosen one (a fallback). ``attempts`` say it better."""
    input_tokens: Tokens | None = None
    output_tokens: Tokens | None = None
    cached_input_tokens: Tokens | None = None
    """Of the input tokens, those that the provider had cached."""
    cost_usd: Dollars | None = None
    """What was paid for the answer, if known. US dollars."""
    latency_ms: Milliseconds | None = None
    """Time to the whole answer. With ``attempts``, that of the one that answered counts."""
    error: Label | None = None
    """Kind of failure, such as ``timeout``. Availability is not quality: it teaches no reward. Without tokens or
    dollars a failed call costs nothing."""
    finish_reason: Label | None = None
    response_id: Label | None = None
    """What the upstream called its answer. Rewards take it as ``reference``."""
    refusal: bool | None = None
    """Whether the model declined to answer. Left out, ``finish_reason`` says it (``content_filter``, ``refusal``)."""
    output_chars: Annotated[int, Field(ge=0, le=MAX_CHARS)] | None = None
    """Length of the answer. Characters."""
    regenerated_from: DecisionName | None = None
    """The decision whose answer this one was asked for in place of."""
    escalated_to: Label | None = None
    """Who took over because this answer was not enough: a decision's id, or a word such as ``human``."""
    attempts: Annotated[list[AttemptRequest], Field(min_length=1, max_length=MAX_ATTEMPTS)] | None = None
    """Every call that the decision took, in order. The last one that answered has served, and the figures beside
    ``attempts`` are its own. Failed ones count for their arms' breakers, and are charged for the tokens they tell."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.attempts is None:
            _check_cached(self.input_tokens, self.cached_input_tokens)
            return self
        answered = [one for one in self.attempts if one.error is None]
        main = answered[-1] if answered else self.attempts[-1]
        served = answered[-1].arm if answered else None
        if self.served_arm is not None and self.served_arm != served:
            raise ValueError("served_arm must be the last of attempts that answered; leave it out")
        if self.error is not None and answered:
            raise ValueError("error stands for a call that nobody answered, but one of attempts did; leave it out")
        for name in ("input_tokens", "output_tokens", "cached_input_tokens", "cost_usd"):
            if None not in (ours := getattr(self, name), its := getattr(main, name)) and ours != its:
                raise ValueError(f"{name} differs from that of the attempt it belongs to; give it once")
        return self


def _check_cached(input_tokens: int | None, cached: int | None) -> None:
    if cached is not None and cached > (input_tokens or 0):
        raise ValueError("cached_input_tokens are a part of input_tokens, so not more than those")


class UsageAnswer(AnswerModel):
    """The usage report is durable."""

    decision_id: Identifier
    duplicate: bool
    """It told nothing new; nothing was counted again."""
    revision: Annotated[int, Field(ge=0)]
    """0 for the first report, then one more for every one that told something new."""
    cost_usd: float | None
    """Of all attempts together. Null while neither dollars nor tokens of the answer are known."""


class FeedbackLinkRequest(RequestModel):
    """What a link asks, and until when."""

    metric: Name = "quality"
    source: Name | None = None
    """As whose word a vote counts: ``human`` when left out (or the policy's first source, where it has no such). One
    source has one word on a metric of a decision: the newest."""
    expires_in_s: Annotated[float, Field(ge=60.0, le=31_536_000.0)] | None = None
    """Until the reward window closes when left out. Seconds."""
    question: Annotated[Label, Field(max_length=200)] | None = None
    """Instead of the page's own words."""
    up: Annotated[Label, Field(max_length=40)] | None = None
    down: Annotated[Label, Field(max_length=40)] | None = None


class FeedbackLinkAnswer(AnswerModel):
    """Whoever has the link may vote on this decision, and on nothing else."""

    decision_id: Identifier
    url: str
    expires_at: Time


class ActivateAnswer(AnswerModel):
    """The decision is active."""

    decision_id: Identifier
    activated: bool
    """False when it was active already."""
    duplicate: bool
    """It is the answer to an earlier request under the same ``Idempotency-Key``."""


class AbandonAnswer(AnswerModel):
    """The decision counts as never served."""

    decision_id: Identifier
    abandoned: bool
    """False when it was abandoned already."""
    duplicate: bool
    """It is the answer to an earlier request under the same ``Idempotency-Key``."""
