"""Schemas of budgets and savings."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from banditd.web.schemas.base import (
    MAX_USD,
    AnswerModel,
    IntegerParameter,
    Label,
    Name,
    RequestModel,
    Time,
    TimeParameter,
)
from banditd.web.schemas.tags import TagParameters, TagValueAnswer


class BudgetAccount(AnswerModel):
    """One account of one budget: all decisions', an API key's, or a tag value's."""

    policy: str
    name: str
    per: str
    """``decision`` (a mean), ``hour``, ``day`` or ``month`` (a sum, UTC)."""
    of: str
    account: str
    limit_usd: float
    decisions: int
    charged_usd: float
    """Real costs where usage was reported, estimates elsewhere."""
    charged_usd_per_decision: float | None
    remaining_usd: float | None
    """Of the window; null for a mean."""
    window_ends_at: Time | None
    price_per_usd: float | None
    """Reward that a dollar must bring now; null where this process has not charged the account yet."""
    at_stop: str | None
    stopped: bool
    """Used up: what ``at_stop`` says happens."""


class CorrectionRequest(RequestModel):
    """Dollars to put on an account by hand, or to take off it."""

    usd: Annotated[float, Field(ge=-MAX_USD, le=MAX_USD)]
    """Added to what is charged in the present window; negative takes off."""
    reason: Label
    """Why; kept with the correction."""
    account: Label | None = None
    """An API key's name or a tag's value; ``all``, or left out, for a budget of all decisions."""
    policy: Name = "default"
    correction_id: Label | None = None
    """One id, one correction: a repeat with the same figures changes nothing. Where left out, the header
    ``Idempotency-Key`` is the id, else a new one."""


class CorrectionAnswer(AnswerModel):
    """The correction is durable."""

    correction_id: str
    duplicate: bool
    """It was made already; nothing was changed."""
    policy: str
    budget: str
    account: str
    usd: float
    charged_usd: float
    """What stands on the account now."""
    remaining_usd: float | None
    """Of the window; null for a mean."""


class GuardState(AnswerModel):
    """The policy's own vectors against the fixed-arm mixture, which is logged beside them and never drawn from."""

    alarm: bool
    """Contexts look worse than the mixture, by more than two standard errors."""
    share: float
    """Always 1: the policy's own vector is what is drawn from. Goes with the next release."""
    advantage: float | None
    """Reward, less the price of money, of the policy's own vector over the mixture's: on the last 1,000 rewards."""
    standard_error: float | None


class BudgetsAnswer(AnswerModel):
    """Every budget of a policy, at most 50 accounts of each, those with the highest charges."""

    policy: str
    budgets: list[BudgetAccount]
    guard: GuardState | None
    """Null without a budget."""


class MeanEstimate(AnswerModel):
    """A mean estimated from what was logged, with its 95 % interval; null where no data are behind one."""

    mean: float
    interval: list[float] | None


class Settles(AnswerModel):
    """What would settle a verdict: so many more rated decisions, at the present pace and the arm's share of them."""

    decisions: int
    at: Time | None
    """About when; null where nothing was rated within the last day."""
    share: float
    """Of the traffic that the arm is taken to get from now on."""
    words: str
    """``by about Tuesday``, or ``after 1,200 more rated decisions``."""


class SavingsArm(AnswerModel):
    """Routing against this arm alone, on the same traffic. Differences are ours minus the arm's."""

    arm: str
    cost_usd_per_decision: float | None
    """Had it answered everything."""
    saved_usd_per_decision: float | None
    """Null unless it was eligible for every decision."""
    saved_share: float | None
    cheaper: bool | None
    """Whether routing is; null where costs do not compare."""
    reward: MeanEstimate | None
    """Doubly robust estimate of what it would have earned, with the interval of the design."""
    reward_difference: MeanEstimate | None
    effective_sample_size: float
    """The same as ``worth``; goes with the next release."""
    worth: float
    """Uniformly drawn answers of the arm that its rated decisions are worth."""
    rated_decisions: int
    """On which it could have been drawn."""
    unsupported_decisions: int
    """Rated ones on which its probability was 0: they tell nothing of it and are left out."""
    drawn_decisions: int
    """Rated ones that drew it."""
    verdict: Literal["better", "as good", "worse", "unclear"] | None
    """Of routing against it; ``as good`` is not worse by .005. Null without an interval."""
    settles: Settles | None
    """Null where the verdict is clear, where the difference is known to the wanted precision, or where the arm gets
    nothing; and before 20 decisions that could have drawn it are rated."""
    words: str
    """One sentence on always using this arm."""
    reason: str | None
    """Why there is no verdict, or what it leaves out."""


class MixtureArm(AnswerModel):
    """An arm's part of the mixture."""

    arm: str
    share: float


class SavingsMixture(AnswerModel):
    """Routing against the fixed-arm mixture: the best random mix of two arms at our cost."""

    arms: list[MixtureArm]
    cost_usd_per_decision: float | None
    reward: MeanEstimate | None
    reward_difference: MeanEstimate | None
    verdict: str | None
    reason: str | None


class Savings(AnswerModel):
    """What routing saves, and what that does to quality."""

    cost_usd_per_decision: float | None
    basis: Literal["settled", "predicted"] | None
    """Of costs: as in ``saved`` of ``GET /v1/savings``."""
    arms: list[SavingsArm]
    mixture: SavingsMixture


class Saved(AnswerModel):
    """Dollars against the baseline, on the same decisions."""

    usd: float | None
    """Negative where routing cost more."""
    share: float | None
    would_have_cost_usd: float | None
    """With the baseline alone: where it answered what was spent, else its predicted cost times what the answer
    cost over what was predicted of the arm that gave it. By ``predicted`` costs: its predicted cost."""
    spent_usd: float | None
    compared_decisions: int
    """In both figures."""
    basis: Literal["settled", "predicted"] | None
    """``settled``: what was reported (or settled at its estimate); ``predicted``: too little is settled yet."""
    reason: str | None
    """Why nothing compares."""
    billed_over_priced: dict[str, float]
    """Arms whose reported ``cost_usd`` is not what their tokens cost at their configured price, and how many times
    that it is, by the newest reports: where there are any, what is saved is wrong until their prices are mended."""


class Lost(AnswerModel):
    """Quality against the baseline. Null without data behind it; intervals hold the truth in 95 of 100 cases."""

    points: float | None
    """Of 100 of the reward's scale; positive is worse than the baseline."""
    interval: list[float] | None
    percent: float | None
    """Of the baseline's quality."""
    percent_interval: list[float] | None
    reward: float | None
    baseline_reward: float | None
    quality_ratio: float | None
    quality_interval: list[float] | None
    rated_decisions: int
    """On which the baseline could have been drawn."""
    unsupported_decisions: int
    """Rated ones on which its probability was 0: left out."""
    worth: float
    """Uniformly drawn answers of the baseline that this is worth."""
    verdict: Literal["better", "as good", "worse", "unclear"] | None
    """Of routing against the baseline."""
    reason: str | None


class Exploration(AnswerModel):
    """Decisions that took another arm than what looked best, in order to learn."""

    decisions: int
    share: float | None
    usd: float
    """Predicted, beyond what the best would have cost; negative where it cost less."""
    points: float | None
    """Predicted loss of reward over all decisions, of 100."""


class HeadlineWords(AnswerModel):
    """The same in sentences."""

    saved: str
    lost: str
    held: str
    exploration: str
    confidence: str
    judges: str | None = None
    """Where judges, probes or the classifier have cost something."""


class Headline(AnswerModel):
    """What routing saved and lost against the baseline, and whether its promise holds."""

    baseline: str | None
    """The promise's baseline, else the dearest enabled arm; null without an enabled arm."""
    keep: float | None
    """Share of its quality that is promised; null without a promise."""
    decisions: int
    saved: Saved
    lost: Lost
    held: Literal["yes", "no", "unknown"]
    settles: Settles | None
    """What would settle the verdict; null where it is known."""
    exploration: Exploration
    words: HeadlineWords
    headline: str
    """One line of it all."""


class SavingsGroup(Headline):
    """The same of one value of a tag."""

    tag: str
    value: str | None
    other: bool
    """The values that have no row of their own."""


class SavingsStep(Headline):
    """The same of one step."""

    since: Time
    until: Time


class JudgesCost(AnswerModel):
    """What was spent beside the policy's traffic meanwhile, by whole hours. It is in no other figure."""

    usd: float
    """Of the judges' calls."""
    probes_usd: float
    """Of the calls of arms that did not answer, with what is set aside for those under way."""
    classifier_usd: float
    """Of the classifier's calls, with what is set aside for those under way."""
    saved_less_judges_usd: float | None
    """What was saved, less all three."""


class SavingsParameters(TagParameters):
    """Which policy, of which or by which tag, over which stretch."""

    since: TimeParameter | None = None
    """Whole buckets of the roll-ups from then on; the policy's life when left out."""
    until: TimeParameter | None = None
    """Now when left out."""
    step_s: Annotated[IntegerParameter, Field(ge=300, le=31_536_000)] | None = None
    """Tells the same of every step from ``since`` on, too: so many seconds long, at most 100 steps."""
    limit: Annotated[IntegerParameter, Field(ge=1, le=1000)] | None = None
    """With ``by``: of so many values at most, those with most decisions."""

    @field_validator("limit")
    @classmethod
    def _limits_values_of_a_tag(cls, limit: int | None, info: ValidationInfo) -> int | None:
        if limit is not None and info.data.get("by", "") is None:
            raise ValueError("it limits the values of a tag: add by=tag:NAME, or leave it out")
        return limit


class SavingsAnswer(Headline):
    """The headline of a policy over a stretch."""

    judges: JudgesCost | None = None
    """Where judges, probes or the classifier have cost something."""

    policy: str
    since: Time | None
    until: Time | None
    tag: TagValueAnswer | None = None
    """Whose decisions these are, where a tag was asked for."""
    steps: list[SavingsStep] | None = None
    """With ``step_s``: the same of every step, oldest first; what judges cost is left out."""
    groups: list[SavingsGroup]
    """With ``by``: the same for every value of the tag; most decisions first, values without counters last."""
