"""Schemas of releases."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from banditd.core.release import LEAST_UNITS, LIMITED, STEPS, Guardrail, Measure, Metric, ReleaseTerms
from banditd.web.schemas.base import (
    AnswerModel,
    Identifier,
    IntegerParameter,
    Name,
    ParameterModel,
    RequestModel,
    Time,
    UnitInterval,
)
from banditd.web.schemas.promise import PromiseStanding

Phase = Literal["running", "paused", "promoted", "aborted", "rolled_back", "error"]
Tolerance = Annotated[float, Field(gt=0.0, lt=1.0)]


class ReleaseMetric(RequestModel):
    """Rewards of which the candidate may not have less."""

    metric: Name | None = None
    """Of one metric; null: those of a decision together, as they are learned."""
    worse_by: Tolerance = 0.02
    """How much lower they may be."""
    alpha: Annotated[float, Field(ge=1e-6, le=0.2)] = 0.01
    """Chance at most to take back a candidate that is not worse than that, over the whole release."""


class ReleaseGuardrail(RequestModel):
    """Something in usage reports of which the candidate may not have more."""

    measure: Measure
    """``regeneration`` and ``escalation`` are looked at ten minutes after the answer, others when it is reported."""
    limit: Annotated[float, Field(ge=0.0)] | None = None
    """Of ``latency`` in milliseconds, of ``cost`` in dollars, of ``output_length`` in tokens: an answer above it
    counts. The others have none."""
    worse_by: Tolerance = 0.02
    """How much more often it may happen."""

    @model_validator(mode="after")
    def _limited(self) -> Self:
        if (self.limit is None) == (self.measure in LIMITED):
            raise ValueError(f"{', '.join(sorted(LIMITED))} need a limit, the other measures have none")
        return self


class ReleaseRequest(RequestModel):
    """Which candidate to release, and how."""

    policy: Name = "default"
    candidate: Name
    steps: Annotated[list[UnitInterval], Field(min_length=1, max_length=20)] = Field(
        default_factory=lambda: list(STEPS)
    )
    """Shares of the traffic that the candidate decides, growing, the last one 1."""
    least_units: Annotated[list[Annotated[int, Field(ge=0, le=10_000_000)]], Field(min_length=1, max_length=20)] = (
        Field(default_factory=lambda: list(LEAST_UNITS))
    )
    """Rated units of the candidate that each step takes at least; the last number stands for the rest."""
    unit: Literal["session", "key"] = "session"
    """What stays on a side: a session, else (``key``) an API key, else a decision."""
    metrics: Annotated[list[ReleaseMetric], Field(min_length=1, max_length=8)] = Field(
        default_factory=lambda: [ReleaseMetric()]
    )
    guardrails: Annotated[list[ReleaseGuardrail], Field(max_length=7)] = Field(
        default_factory=lambda: [ReleaseGuardrail(measure="error"), ReleaseGuardrail(measure="refusal")]
    )
    promote: Literal["manual", "auto"] = "manual"
    """Whether a step that is over is proposed, or the next one taken."""
    windowed: bool = False
    """Also take it back where it was lower by more than 1.5 times the noise in two windows of 15 minutes in a row, of
    30 answers of each side at least; ``false_alarms_per_month`` says how often that is wrong.
    """
    again: bool = False
    """Although the same candidate was taken back within the last hour."""

    @model_validator(mode="after")
    def _growing(self) -> Self:
        if self.steps[0] <= 0.0 or self.steps[-1] != 1.0 or any(a >= b for a, b in pairwise(self.steps)):
            raise ValueError("steps are shares above 0 that grow, and the last one is 1")
        for names in ([one.metric for one in self.metrics], [one.measure for one in self.guardrails]):
            if len(set(names)) < len(names):
                raise ValueError("a metric or guardrail is named twice")
        return self

    def terms(self) -> ReleaseTerms:
        """As plain values."""
        return ReleaseTerms(
            steps=tuple(self.steps),
            least_units=tuple(self.least_units),
            unit=self.unit,
            metrics=tuple(Metric(**one.model_dump()) for one in self.metrics),
            guardrails=tuple(Guardrail(**one.model_dump()) for one in self.guardrails),
            promote=self.promote,
            windowed=self.windowed,
        )


class ReleaseVerb(RequestModel):
    """Why."""

    reason: Annotated[str, StringConstraints(max_length=500)] | None = None
    """For the history."""


class ReleasePromotion(ReleaseVerb):
    """Whether to go on before the step is over."""

    force: bool = False
    """Take the next step although this one lacks rated units, or something speaks against the candidate."""


class ReleaseParameters(ParameterModel):
    """Whose releases."""

    policy: Name | None = None
    """Of every policy when left out."""
    limit: Annotated[IntegerParameter, Field(ge=1, le=500)] = 20


class ReleaseUnits(AnswerModel):
    """Units of both sides."""

    candidate: int
    incumbent: int


class ReleaseShares(AnswerModel):
    """Of both sides."""

    candidate: float
    incumbent: float


class ReleaseMeasure(AnswerModel):
    """What is known of one measure."""

    worse_by: float
    evidence: float
    """That the candidate is worse than tolerated: how many to 1, over all looks together."""
    needed: float
    """At so much the candidate is taken back."""
    units: ReleaseUnits
    """Rated, or reported."""
    differing_units: ReleaseUnits
    """Of those, on which the two drew from what they do not have in common: they alone are compared."""
    difference: float | None
    """Candidate less incumbent on those, more is better; of a guardrail, of the share without it."""
    interval: Annotated[list[float], Field(min_length=2, max_length=2)] | None
    """Holds that difference in 95 of 100 releases, over all looks together."""


class ReleaseMetricAnswer(ReleaseMeasure):
    """Rewards of one metric."""

    metric: str | None
    alpha: float


class ReleaseGuardrailAnswer(ReleaseMeasure):
    """One guardrail."""

    measure: str
    limit: float | None


class ReleaseSplit(AnswerModel):
    """Whether both sides are counted as often as they should."""

    of: str
    candidate: int
    expected: float
    units: int


class ReleaseAnswer(AnswerModel):
    """One release."""

    release_id: Identifier
    policy: str
    candidate: str
    candidate_id: Identifier
    phase: Phase
    words: str
    share: float
    """Of the traffic that is the candidate's now."""
    step: int
    """The first one is 1."""
    steps: list[float]
    least_units: list[int]
    unit: str
    promote: str
    due: bool
    """The step has what it takes, and the next one is proposed."""
    missing_units: dict[str, int]
    """Rated units of the candidate that the step still wants, by metric."""
    matures_s: float
    """Rewards of younger decisions wait: nine of ten have come by then."""
    rated_share: ReleaseShares | None
    """Which share of each side's decisions is rated; null before both have some."""
    windowed: bool
    false_alarms_per_month: float | None
    """Of the rule of windows with an equal candidate at this share; null without that rule."""
    differs: float | None
    """Mean share of the newest decisions on which the two differ."""
    metrics: list[ReleaseMetricAnswer]
    guardrails: list[ReleaseGuardrailAnswer]
    splits: list[ReleaseSplit]
    promises: list[PromiseStanding]
    """What the candidate promises on its side, as this replica keeps it; empty where that is the policy's promise."""
    reason: str | None
    """Why it ended, or was paused."""
    key_name: str | None
    created_at: Time
    step_at: Time
    ended_at: Time | None


class ReleasesAnswer(AnswerModel):
    """Releases, newest first."""

    releases: list[ReleaseAnswer]


class ReleaseEventAnswer(AnswerModel):
    """One line of a release's history."""

    event: str
    """``started``, ``step_due``, ``promoted``, ``paused``, ``resumed``, ``arm_disabled``,
    ``measurement_changed``; and ``aborted``, ``rolled_back``, ``error``, ``finished`` or ``taken_back``.
    """
    at: Time
    step: int
    share: float
    reason: str | None
    key_name: str | None
    """By whose API key; null by the daemon."""


class ReleaseEventsAnswer(AnswerModel):
    """The history, oldest first."""

    events: list[ReleaseEventAnswer]


class ReleaseMeasurePoint(AnswerModel):
    """One measure at one moment."""

    evidence: float
    difference: float | None
    interval: Annotated[list[float], Field(min_length=2, max_length=2)] | None
    units: ReleaseUnits


class ReleasePoint(AnswerModel):
    """How a release stood at one moment."""

    at: Time
    step: int
    share: float
    differs: float | None
    measures: dict[str, ReleaseMeasurePoint]
    """By ``reward``, ``reward:metric``, or the guardrail's measure."""


class ReleasePointsAnswer(AnswerModel):
    """The way of a release, oldest first: some 100 to 200 moments, every turn among the newest of them, and now."""

    points: list[ReleasePoint]


class RollbackAnswer(AnswerModel):
    """What was undone."""

    policy: str
    undone: Literal["release", "promotion"]
    release_id: Identifier
    candidate: str
    dropped: list[str]
    """What was changed after the promotion and went with it, such as ``promise.keep: 0.92``."""
    words: str
