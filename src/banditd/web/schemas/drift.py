"""Schemas of slow loss of quality."""

from __future__ import annotations

from typing import Literal

from banditd.web.schemas.base import AnswerModel, Name, Time

Cause = Literal["provider", "level", "traffic"]


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
    level: LevelDrift | None
    """None with fewer than 15 days of rewards."""
    traffic: TrafficDrift
