"""Schemas of rewards, usage reports and activation."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, RootModel, StringConstraints, model_validator

from banditd.web.schemas.base import (
    MAX_BATCH,
    AnswerModel,
    Dollars,
    Identifier,
    Label,
    Metadata,
    Name,
    RequestModel,
    Tokens,
)
from banditd.web.schemas.problem import ItemError

KEY_PATTERN = r"^[\x21-\x7e]+$"
IdempotencyKey = Annotated[str, StringConstraints(pattern=KEY_PATTERN, min_length=1, max_length=255)]


class RewardRequest(RequestModel):
    """One reward for one decision: exactly one of ``value``, ``thumb`` and ``retract: true``."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {"required": ["value"], "properties": {"value": {"type": "number"}}},
                {"required": ["thumb"], "properties": {"thumb": {"type": "string"}}},
                {"required": ["retract"], "properties": {"retract": {"const": True}}},
            ],
            "examples": [{"decision_id": "01890a5d-ac96-774b-bcce-b302099a8057", "value": 0.8, "source": "judge"}],
        }
    )

    decision_id: Identifier
    value: Annotated[float, Field(ge=-1e6, le=1e6)] | None = None
    """On the source's own scale (0 to 1 unless configured otherwise)."""
    thumb: Literal["up", "down"] | None = None
    retract: bool = False
    """Take back what this source said of this metric (or what was sent under this key)."""
    metric: Name = "quality"
    """What was measured. One decision may be rewarded on several metrics."""
    source: Name = "human"
    """Who says so: human, judge, metric, implicit, or another source of the configuration."""
    idempotency_key: IdempotencyKey | None = None
    """In a list: this item's key. For a single reward the header ``Idempotency-Key`` does the same."""
    metadata: Metadata = Field(default_factory=dict)
    """Kept with the reward, never read. At most 64 fields and 16,384 characters."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.value is not None) + (self.thumb is not None) + self.retract != 1:
            raise ValueError("give exactly one of value, thumb, retract: true")
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


class RewardItem(AnswerModel):
    """What became of one reward of a list: a receipt or an error."""

    index: int
    status_code: int
    receipt: RewardReceiptAnswer | None = None
    error: ItemError | None = None


class RewardListAnswer(AnswerModel):
    """One result per reward, in order."""

    results: list[RewardItem]


class RewardAnswer(RootModel[RewardReceiptAnswer | RewardListAnswer]):
    """A receipt for one reward, results for a list."""


class UsageRequest(RequestModel):
    """What a decision really cost. Tokens are enough: the arm's price is applied."""

    served_arm: Name | None = None
    """The arm that answered, when it was not the chosen one (a fallback)."""
    input_tokens: Tokens | None = None
    output_tokens: Tokens | None = None
    cached_input_tokens: Tokens | None = None
    """Of the input tokens, those that the provider had cached."""
    cost_usd: Dollars | None = None
    """What was paid, if known. US dollars."""
    latency_ms: Annotated[float, Field(ge=0.0, le=1e9)] | None = None
    """Time to the whole answer. Milliseconds."""
    error: Label | None = None
    """Kind of failure, such as ``timeout``. Availability is not quality: it teaches no reward."""
    finish_reason: Label | None = None

    @model_validator(mode="after")
    def _check_cached(self) -> Self:
        if self.cached_input_tokens is not None and self.cached_input_tokens > (self.input_tokens or 0):
            raise ValueError("cached_input_tokens are a part of input_tokens, so not more than those")
        return self


class UsageAnswer(AnswerModel):
    """The usage report is durable."""

    decision_id: Identifier
    duplicate: bool
    cost_usd: float | None
    """Null when neither dollars nor tokens are known."""


class ActivateAnswer(AnswerModel):
    """The decision is active."""

    decision_id: Identifier
    activated: bool
    """False when it was active already."""
    duplicate: bool
    """It is the answer to an earlier request under the same ``Idempotency-Key``."""
