"""Golden sets: prompts that every arm answers anew each day, to be scored by a judge. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from banditd.core.anchor import DriftRule

GoldenState = Literal["waiting", "calling", "answered", "judging", "judged", "failed", "lost", "dropped"]
"""The arm is to be called, is being called; the judge is to be called, is being called; scored; no call gave an
answer or a verdict; whoever called was killed; it was not made on its day."""
MAX_ATTEMPTS: Final = 3
"""Calls of the arm, and of the judge, for one case; the failed ones included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenPrompt:
    """prompt_id : hash of what it says. body : of a chat, without a model. input_tokens : about."""

    prompt_id: str
    body: Mapping[str, object]
    input_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenRule:
    """The golden set of a policy. judge : its name. usd_per_day : cap on the calls of arms and judge together, in a
    day of UTC. drift : what is tolerated of one arm.
    """

    policy: str
    judge: str
    prompts: tuple[GoldenPrompt, ...]
    usd_per_day: float
    drift: DriftRule


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenCase:
    """One prompt for one arm on one day.

    day : of UTC, since 1970. version : of arm and judge: scores of another one are not comparable. position : of the
    prompt in the set. reserve_usd : what is set aside for its next call. answer : that the judge is to score.
    attempts : of its next call, this one included. lease : names this claim; None of one that is not claimed.
    """

    policy: str
    day: int
    arm: str
    prompt_id: str
    version: str
    position: int
    reserve_usd: float
    answer: str | None = None
    attempts: int = 0
    lease: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenWatch:
    """What the days have shown of one arm. test : ``ope.drops.GoldenTest`` as JSON. alarm_day : of the first alarm
    of this version; None for none.
    """

    arm: str
    version: str
    test: str
    alarm_day: int | None = None
