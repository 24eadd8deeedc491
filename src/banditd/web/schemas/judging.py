"""Schemas of judges and of the tasks of those that clients call."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from banditd.web.schemas.base import (
    AnswerModel,
    Dollars,
    Identifier,
    Name,
    RequestModel,
    Time,
    UnitInterval,
)


class JudgeRefused(AnswerModel):
    """Why a judge's verdicts do not count."""

    at: Time
    reason: str


class JudgePeople(AnswerModel):
    """What people would say of all answers that the judge was to see, by its scores and their labels together."""

    mean: float
    interval: Annotated[list[float], Field(min_length=2, max_length=2)]
    """Holds the truth in 95 of 100 cases, whatever the judge's bias."""
    worth: float
    """Labels that would tell as much without the judge."""


class JudgeProbedArm(AnswerModel):
    """Probes of one arm."""

    arm: str
    drawn: int
    answered: int
    spend_usd: float


class JudgeProbes(AnswerModel):
    """Calls of arms that did not answer, for this judge to score; of its whole life but for the last day's spend."""

    share: float
    """Of the answers whose query other arms answer too."""
    arms: int
    """That answer one query at most."""
    drawn: int
    """Calls that the coin chose."""
    waiting: int
    """Or under way."""
    answered: int
    """And handed to the judge."""
    dropped: int
    """Of the drawn: no money or no room, or not made in time."""
    failed: int
    """No call gave an answer with text."""
    lost: int
    """Under way when a replica was killed: not made again, and what was set aside for them counts as spent."""
    calls: int
    input_tokens: int
    output_tokens: int
    spend_usd: float
    """With what is set aside for calls under way."""
    spend_day_usd: float
    """Of the last 24 hours and the part of an hour before them."""
    usd_per_day: float
    """The cap on that."""
    by_arm: list[JudgeProbedArm]
    """Of the newest 5,000 probes of all judges together."""
    words: str


class EqualLengthAnswer(AnswerModel):
    """How often the baseline's answer would be preferred if both were equally long."""

    win_rate: float
    interval: Annotated[list[float], Field(min_length=2, max_length=2)]
    """Of 95 %."""
    raw_win_rate: float
    """Of the same pairs, as they were."""
    pairs: int
    typical_ratio: float
    """Median length of the baseline's answer over that of the served one."""


class JudgeComparisons(AnswerModel):
    """How often the baseline's answer is preferred to the one that was served, by this judge's present version."""

    policy: str
    baseline: str
    compared: int
    waiting: int
    """Pairs in the judge's queue, of all its policies."""
    baseline_preferred: int
    """In both orders, as the served one's below."""
    served_preferred: int
    same: int
    inconsistent: int
    """Another answer in each order: neither is preferred."""
    preferred: Literal["rarely", "often"] | None
    """Nearer 10 % or nearer 20 % of the comparisons; null while that is not known."""
    known_after: int | None
    """Comparisons that it took. No more are bought."""
    log_odds: float
    """Of ``often`` against ``rarely``: where the test stands, or ended."""
    bound: float
    """It ends at that, or at the same below 0."""
    way: list[tuple[int, float]]
    """(comparisons, log-odds) on the way there, at most 200."""
    win_rate: float
    """Of the baseline's answer; where neither is preferred it is half."""
    equal_length: EqualLengthAnswer | None
    """Null with fewer than 20 pairs of known lengths."""
    words: str


class JudgeFavour(AnswerModel):
    """Evidence that the judge scores some arm otherwise than the others, as people see the same answers."""

    evidence: float
    needed: float
    """At so much, and where its scores less people's say the same, it is refused."""


class JudgedArm(AnswerModel):
    """Verdicts on answers that an arm has served, of the newest 5,000 and all labelled ones."""

    arm: str
    judged: int
    mean_score: float
    """Each answer weighing as in the traffic."""
    interval: Annotated[list[float], Field(min_length=2, max_length=2)] | None
    """Of 95 %; null of a single one."""
    labels: int
    beyond_people: float | None
    """Mean score less people's, of the labelled ones."""


class JudgeAnswer(AnswerModel):
    """One judge. Counts and spend are of its whole life; what is known of trust is of its present version."""

    judge: str
    kind: Literal["upstream", "client"]
    upstream: str | None
    model: str | None
    version: str
    """Changes with its model, its parameters and its rubric: trust begins anew."""
    share: float
    """Of the answers that it scores: the probability of each, drawn by a keyed coin."""
    policies: list[str]
    """Whose answers; empty: of every policy."""
    source: str
    """Of its rewards."""
    counts: bool
    """Whether its verdicts count as rewards."""
    refused: JudgeRefused | None
    sampled: int
    """Answers that the coin chose, and those of probes."""
    waiting: int
    leased: int
    """Of those that wait: being judged now."""
    judged: int
    dropped: int
    """Of the sampled: no room in the queue, or waiting too long."""
    failed: int
    """Of the sampled: no try gave a verdict."""
    calls: int
    input_tokens: int
    output_tokens: int
    spend_usd: float
    spend_day_usd: float
    """Of the last 24 hours and the part of an hour before them."""
    usd_per_day: float | None
    """No call is made where that has reached it; null: no limit."""
    mean_score: float | None
    """Of the newest verdicts, each answer weighing as in the traffic."""
    labels: int
    """Judged answers that people have rewarded."""
    agreement: float | None
    """Share of those that both put on the same side of one half; null without any."""
    people: JudgePeople | None
    """Null with fewer than ten labels."""
    labels_needed: int
    """Before that many it is not refused."""
    favour: JudgeFavour
    trust: str
    """Whether its scores teach, and why."""
    by_arm: list[JudgedArm]
    words: str
    probes: JudgeProbes | None
    """Null where other arms are not asked."""
    comparisons: list[JudgeComparisons]
    """By policy and baseline; none without ``probes.compare``, and before the first."""


class JudgesAnswer(AnswerModel):
    """Every configured judge."""

    judges: list[JudgeAnswer]


class JudgeLeaseRequest(RequestModel):
    """Which tasks to claim, and for how long."""

    judge: Name
    limit: Annotated[int, Field(ge=1, le=100)] = 10
    lease_s: Annotated[float, Field(ge=1.0, le=3600.0)] = 120.0
    """After it a task that has no result may be claimed by somebody else."""


class JudgeTaskAnswer(AnswerModel):
    """An answer to score. Whose it is is not said."""

    task_id: str
    lease: str
    """Give it back with the result."""
    decision_id: str
    policy: str
    question: str
    """The conversation up to the answer."""
    answer: str
    attempt: int
    leased_until: Time


class JudgeLeaseAnswer(AnswerModel):
    """The claimed tasks; none where nothing waits."""

    judge: str
    rubric: str
    """What 0 and 1 mean."""
    tasks: list[JudgeTaskAnswer]


class JudgeResultRequest(RequestModel):
    """A verdict; or ``failed``, and the task is for somebody else."""

    lease: Identifier
    score: UnitInterval | None = None
    failed: bool = False
    reason: Annotated[str, StringConstraints(max_length=2000)] = ""
    cost_usd: Dollars = 0.0
    """What it took, for the account of the judge."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.score is None) != self.failed:
            raise ValueError("give score, or failed: true")
        return self


class JudgeResultAnswer(AnswerModel):
    """What is kept."""

    task_id: str
    score: float | None
    """Null of a task that was given back."""
    duplicate: bool
    """The same score was kept before."""
