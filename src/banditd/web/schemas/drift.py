"""Schemas of slow loss of quality."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import StringConstraints

from banditd.web.schemas.base import AnswerModel, Name, RequestModel, Time

Cause = Literal["provider", "own", "level", "traffic"]


class GoldenArm(AnswerModel):
    """One arm on the golden prompts."""

    arm: Name
    alarm: bool
    """Its answers score lower than in the baseline, by more than is tolerated. It stays until the arm changes."""
    evidence: float
    """In parts of an alarm: 1 is one."""
    alarmed_on: str | None
    since: str | None
    """The day from which on they most likely do, as YYYY-MM-DD."""
    days: int
    """That were compared with the baseline."""
    baseline_days_left: int
    mean: float | None
    """Of the scores of the last seven days."""
    baseline: float | None
    flips: float | None
    """Share of those scores that are more than a half away from their prompt's baseline."""
    words: str


class GoldenSet(AnswerModel):
    """The golden set itself."""

    judge: str
    prompts: int
    today: dict[str, int]
    """Today's cases by state."""
    spend_day_usd: float
    """Of arms and judge since the day began (UTC), with what is set aside for calls under way."""
    usd_per_day: float


class LowerRewards(AnswerModel):
    """An arm whose rewards fell at once, while the queries stayed as they were."""

    arm: Name
    old_level: float
    new_level: float
    at: Time | None


class ProviderDrift(AnswerModel):
    """What a provider has changed."""

    alarm: bool
    golden: GoldenSet | None
    """None without a golden set."""
    arms: list[GoldenArm]
    lower_rewards: list[LowerRewards]
    words: str


class AnchorEvent(AnswerModel):
    """When an anchor was taken, renewed, or alarmed; by whom, and why."""

    event: Literal["taken", "renewed", "alarm"]
    anchor_id: str
    at: Time
    reason: str | None
    key_name: str | None


class AnchorUnits(AnswerModel):
    """Sessions (else decisions) that were rated and on which both sides drew otherwise."""

    live: int
    anchor: int


class OwnDrift(AnswerModel):
    """Routing against its anchor: what it was when it was last good, on a part of the traffic."""

    alarm: bool
    """Routing earns less than the anchor, by more than is tolerated. It stays until the anchor is renewed."""
    evidence: float
    """In parts of an alarm."""
    alarmed_on: str | None
    since: str | None
    anchor_id: str | None
    """None before there is one."""
    taken_at: Time | None
    version: int | None
    """Of the policy, when it was taken."""
    reason: str | None
    share: float
    deciding: bool
    """False while a release, a rollout or a shadow goes first, or while it cannot."""
    problem: str | None
    """Why it cannot decide."""
    first_after: int | None
    """Rewarded decisions after which the first one is taken."""
    units: AnchorUnits
    differs: float | None
    """Share of the traffic on which both draw otherwise."""
    difference: float | None
    """Reward of routing less that of the anchor, over all traffic."""
    interval: list[float] | None
    """Holds it in 95 of 100 cases, over all looks together."""
    events: list[AnchorEvent]
    words: str


class AnchorRequest(RequestModel):
    """Why the anchor is renewed."""

    reason: Annotated[str, StringConstraints(max_length=500)] | None = None
    """For the history."""


class AnchorAnswer(AnswerModel):
    """The policy's new anchor."""

    policy: Name
    anchor_id: str
    taken_at: Time
    version: int
    reason: str | None


class LevelDrift(AnswerModel):
    """The mean reward by days. It cannot tell causes apart."""

    alarm: bool
    evidence: float
    """In parts of an alarm."""
    since: str | None
    days: int
    mean: float
    """Of the first days, the baseline."""
    deviation: float
    """By which those days differ."""
    recent_mean: float
    words: str


class TrafficDrift(AnswerModel):
    """Whether the queries have changed; no loss by itself."""

    alarm: bool
    height: float
    """1 by chance; other queries from 4 on."""
    words: str


class DriftAnswer(AnswerModel):
    """Whether quality is slowly lost, and by which cause."""

    policy: Name
    worse_by: float
    days_per_false_alarm: float
    causes: list[Cause]
    """Those that alarm; ``traffic`` is only told."""
    words: str
    """The most telling one: since when, how sure, what to do."""
    provider: ProviderDrift
    own: OwnDrift | None
    """None without an anchor."""
    level: LevelDrift | None
    """None with fewer than 15 days of rewards."""
    traffic: TrafficDrift
