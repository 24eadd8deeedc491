"""Schemas of promises, rollouts and modes."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from banditd.web.schemas.base import AnswerModel, Name, RequestModel, UnitInterval

Keep = Annotated[float, Field(ge=0.5, le=1.0)]
"""Share of the baseline's quality that is kept."""


class PromiseChange(RequestModel):
    """What changes of a promise; the rest stays."""

    keep: Keep | None = None
    baseline: Name | None = None
    """``dearest`` (of the enabled arms), or an arm's name."""

    def changes(self) -> dict[str, object]:
        """The fields that were given."""
        return self.model_dump(exclude_none=True, include=set(PromiseFields.model_fields))


class PromiseFields(PromiseChange):
    """What changes of a promise, by its settings' names."""

    reference_share: Annotated[float, Field(ge=0.0, le=0.5)] | None = None
    precision: Annotated[float, Field(gt=0.0, le=0.5)] | None = None
    keep_by_tag: Annotated[dict[Name, dict[str, Keep]], Field(max_length=32)] | None = None
    """Tag to value to its own keep; of several that apply the highest holds."""


class PromisePatch(PromiseChange):
    """A new promise, from the next decision on. Stored; beats the configuration."""

    policy: Name = "default"

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.keep is None and self.baseline is None:
            raise ValueError("give keep, baseline, or both")
        return self


class PolicyPatch(RequestModel):
    """What is switched of a policy, from the next decision on. Stored; beats the configuration."""

    rollout: UnitInterval | None = None
    """Share of the traffic that the policy decides; the baseline answers the rest, 0: everything."""
    mode: Literal["route", "shadow"] | None = None
    """``shadow``: the policy decides and logs, the baseline answers."""
    promise: PromiseFields | None = None
    """What changes of the promise; null: no promise."""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("give rollout, mode or promise")
        return self

    def changes(self) -> dict[str, object]:
        """The switches that were given."""
        found: dict[str, object] = {
            name: getattr(self, name)
            for name in ("rollout", "mode")
            if name in self.model_fields_set and getattr(self, name) is not None
        }
        if "promise" in self.model_fields_set:
            found["promise"] = None if self.promise is None else self.promise.changes()
        return found


class PromiseQuality(AnswerModel):
    """Mean reward against the baseline's, over the newest rewarded decisions under the promise; null without data."""

    ratio: float | None
    low: float | None
    """Ends of the 95 % interval of the ratio."""
    high: float | None
    reward: float | None
    baseline_reward: float | None
    """Doubly robust estimate of what the baseline would have earned on the same decisions."""
    half_width: float | None
    """Of its 95 % interval."""
    rated: int
    worth: float
    """Uniformly drawn answers of the baseline that the knowledge of it is worth."""
    unsupported: int
    """Left out: the baseline could not have answered."""


class PromiseLost(AnswerModel):
    """Points of a hundred that the baseline would have earned beyond what was earned."""

    points: float | None
    interval: list[float] | None


class _Standing(AnswerModel):
    state: str
    """``off``, ``learning``, ``keeping``, ``no_rewards``, ``nothing_to_save``, ``broken``, ``baseline_away``,
    ``baseline_changed`` or ``budget_rules``."""
    budget: str | None
    """That rules in place of the promise."""
    share: float
    """Of the traffic that may leave the baseline now."""
    price_per_usd: float
    """What a dollar of predicted cost takes off the reward."""
    reference_share: float
    """Of the traffic that the baseline gets in any case now."""
    saves_usd_per_decision: float | None
    """Expected now, against the baseline."""
    quality: PromiseQuality
    lost: PromiseLost
    held: str
    """``yes``, ``no`` or ``unknown``, with a tolerance of .01."""
    settled_by: str | None
    """What would settle it."""
    decisions: int
    """Under the promise: those that this process has made, and the newest of the log that it began with."""


class PromiseStanding(_Standing):
    """One promise in force: the policy's own, a profile's, a tag's or a request's."""

    keep: float
    baseline: str


class PromiseAnswer(_Standing):
    """How a policy's promise, rollout and mode stand."""

    policy: str
    on: bool
    mode: str
    rollout: float
    baseline: str | None
    """The arm's name."""
    baseline_rule: str
    """``dearest`` or a name."""
    keep: float | None
    keep_by_tag: dict[str, dict[str, float]]
    reference_share_configured: float | None
    precision: float | None
    outside: int
    """Decisions of this process that had an objective of their own, were pinned, or kept their session's arm."""
    overrides: dict[str, dict[str, object]]
    """What was switched and the configuration says otherwise: ``configured`` and ``stored``."""
    promises: list[PromiseStanding]
    of_candidate: list[PromiseStanding]
    """What the candidate of an open release promises on its side, where that is not the policy's own keeper; all else
    is then of the incumbent's side, or of both where they promise the same.
    """
    words: str
    """The same in a sentence."""


class DecisionPromise(AnswerModel):
    """How the promise and the rollout stood in a decision."""

    keep: float | None
    """Null: outside any promise."""
    baseline: str
    share: float | None
    """Of the policy's own vector in what was drawn from; the rest is the baseline's."""
    price_per_usd: float | None
    state: str | None
    fallback: str | None
    """Why the baseline answers nearly everything now, or why it could not; null where the promise holds."""
    rollout: float | None
    side: str | None
    """``policy``, ``baseline`` or ``shadow``; null without a rollout."""
