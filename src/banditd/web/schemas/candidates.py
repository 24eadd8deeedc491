"""Schemas of candidates and evaluations."""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self

from pydantic import ConfigDict, Field, JsonValue, model_validator

from banditd.web.schemas.base import (
    MAX_TAGS,
    AnswerModel,
    IntegerParameter,
    Name,
    OptionalLabel,
    ParameterModel,
    RequestModel,
    Text,
    Time,
    TimeParameter,
    UnitInterval,
)

MAX_CASES: Final = 2000

_Fields = Annotated[dict[Name, JsonValue], Field(max_length=64)]


class CandidateRequest(RequestModel):
    """A named difference to a policy. It never changes; delete it and create another one."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"name": "thriftier", "settings": {"cost_weight": 0.2}, "arms": {"large": {"max_share": 0.3}}}
            ]
        }
    )

    name: Name
    settings: _Fields = Field(default_factory=dict)
    """Of ``kind``, ``options``, ``exploration_floor``, ``cost_weight`` and ``promise``, as in the configuration; of
    ``promise`` the fields that change, null: no promise. What is left out stays the policy's."""
    arms: Annotated[dict[Name, _Fields], Field(max_length=256)] = Field(default_factory=dict)
    """Arm to those of its fields that change: ``enabled``, ``min_share``, ``max_share``, ``params``,
    ``rename_params``, ``upstream_model``."""


class CandidatePatch(RequestModel):
    """What changes of a candidate: nothing of what it is."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"shadow": True}]})

    shadow: bool
    """Whether what it would have drawn is counted beside the traffic; of a policy at most eight are."""


class ShadowFigures(AnswerModel):
    """What a candidate would have done otherwise than the policy."""

    rated: int
    """Rewarded decisions that are counted."""
    differs: float | None
    """Share that it would have answered otherwise."""
    estimate: float | None
    """Mean reward beyond the policy's."""
    interval: Annotated[list[float], Field(min_length=2, max_length=2)] | None
    """Of 95 %, holds at all looks together; before 500 decisions it says no more than ``differs`` does."""
    cost_usd: float | None
    """Predicted, per decision."""
    other_cost_usd: float | None
    """The policy's."""


class ShadowSlice(ShadowFigures):
    """The same of some decisions."""

    slice: str
    """``cluster:7``, ``tag:team=legal``, or ``tag:(others)``."""


class ShadowAnswer(ShadowFigures):
    """The shadow of a candidate: what it would have done, counted while the policy decides."""

    running: bool
    started_at: Time
    """It begins anew where the policy or its arms change."""
    stopped_at: Time | None
    since: Time | None
    """Of the oldest decision that is counted."""
    until: Time | None
    slices: list[ShadowSlice]
    words: str


class CandidateAnswer(AnswerModel):
    """A candidate, beside the policy as it stands now."""

    candidate_id: str
    policy: str
    name: str
    settings: dict[str, JsonValue]
    arms: dict[str, dict[str, JsonValue]]
    created_at: Time
    key_name: str | None
    """Of the API key that created it."""
    candidate_class: Literal["A", "C"] | None = Field(alias="class")
    """``A``: it decides otherwise from the same sums, so the log can evaluate it. ``C``: it also wants answers that
    the log cannot have. Null where it cannot be applied any more."""
    difference: list[str]
    """What would change now, one entry each."""
    problem: str | None
    """Why it cannot be applied any more."""
    words: str
    shadow: ShadowAnswer | None
    """Null where it was never shadowed."""


class CandidatesAnswer(AnswerModel):
    """The candidates of a policy, oldest first."""

    policy: str
    candidates: list[CandidateAnswer]


class CaseRequest(RequestModel):
    """A prompt that arms have answered, with the score of each."""

    input: Text
    scores: Annotated[dict[Name, UnitInterval], Field(min_length=1, max_length=256)]
    """By arm. An arm without a score is not offered."""
    tags: Annotated[dict[Name, OptionalLabel], Field(max_length=MAX_TAGS)] = Field(default_factory=dict)


class EvaluationRequest(RequestModel):
    """What is to be found out of a candidate."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"candidate": "thriftier", "margin": 0.01}]})

    policy: Name = "default"
    candidate: Name
    against: Name = "incumbent"
    """``incumbent``: the policy as it stands; or an arm's name: that arm always."""
    method: Literal["log", "cases", "shadow"] = "log"
    """``log``: the stored decisions are made again. ``cases``: those that are given are decided; none is stored.
    ``shadow``: what was counted since the candidate is shadowed, at once, with the interval ``anytime``."""
    cases: Annotated[list[CaseRequest], Field(max_length=MAX_CASES)] | None = None
    """For ``cases``, at least 20."""
    since: TimeParameter | None = None
    until: TimeParameter | None = None
    margin: Annotated[float, Field(gt=0.0, le=0.5)] = 0.01
    """Of mean reward: that much worse is allowed."""
    interval: Literal["fixed", "anytime"] = "fixed"
    """``fixed`` holds in 95 of 100 cases at one look, ``anytime`` at all looks together: ask as often as you like."""

    @model_validator(mode="after")
    def _cases_fit(self) -> Self:
        if (self.cases is not None) != (self.method == "cases"):
            raise ValueError("cases are given with method: cases, and only then")
        if self.cases is not None and (self.since is not None or self.until is not None):
            raise ValueError("since and until are times of the log; leave them out with cases")
        return self


class EvaluationParameters(ParameterModel):
    """Which evaluations."""

    policy: Name | None = None
    candidate: Name | None = None
    limit: Annotated[IntegerParameter, Field(ge=1, le=10_000)] = 50


class ArmShares(AnswerModel):
    """How much of the traffic an arm would have."""

    arm: str
    share: float
    """Under the candidate."""
    other_share: float


class HalfAnswer(AnswerModel):
    """The difference over a part of the decisions."""

    rated: int
    estimate: float
    interval: Annotated[list[float], Field(min_length=2, max_length=2)]


class EvaluationAnswer(AnswerModel):
    """An evaluation. What is compared with the candidate is called the other: the policy as it stands, or an arm."""

    evaluation_id: str
    policy: str
    candidate: str
    candidate_id: str
    against: str
    method: str
    margin: float
    interval_kind: Literal["fixed", "anytime"]
    phase: Literal["running", "passed", "failed", "inconclusive", "error"]
    reason: str | None
    settles: str | None
    """What would settle it, where it is inconclusive."""
    done: int
    """Decisions that were walked so far, while it runs."""
    total: int
    created_at: Time
    finished_at: Time | None
    key_name: str | None
    rated: int
    """Decisions that were evaluated: drawn by the policy, and rewarded."""
    left_out: dict[str, int]
    """Rewarded decisions that were not, by why."""
    since: Time | None
    """Of the first that was evaluated."""
    until: Time | None
    estimate: float | None
    """Mean reward of the candidate beyond the other's, on these decisions."""
    interval: Annotated[list[float], Field(min_length=2, max_length=2)] | None
    """Of 95 %, see ``interval_kind``."""
    half_width: float | None
    """Half of the interval: a smaller drop cannot be seen."""
    worth: float
    """Answers drawn by the candidate itself that the log is worth."""
    behind: float
    """Drawn answers behind the difference."""
    differs: float | None
    """Share of the decisions that it would answer otherwise; it cannot lose more."""
    uncovered: float | None
    """Share for which it wants arms that could not have been drawn."""
    refused: int
    """Decisions that it could not answer at all."""
    reward: float | None
    """Mean of the candidate."""
    other_reward: float | None
    cost_usd: float | None
    """Predicted, per decision, at today's prices."""
    other_cost_usd: float | None
    rated_share: float | None
    """Of the answers that it would choose, how many are rewarded in this log."""
    other_rated_share: float | None
    later_half: HalfAnswer | None
    arms: list[ArmShares]
    knowledge: Literal["restored", "from_empty"] | None
    """What both rules knew: the sums of then; or they began empty, where these cannot be had again."""
    replay_differs: float | None
    """How far the policy as it stands differs from what was logged, as a share of the decisions."""


class EvaluationsAnswer(AnswerModel):
    """Evaluations, newest first."""

    evaluations: list[EvaluationAnswer]
