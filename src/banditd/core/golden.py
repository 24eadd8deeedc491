"""Golden sets: fixed prompts that every arm answers each day, to be scored by a judge. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from banditd.core.anchor import DriftRule

GoldenState = Literal["waiting", "calling", "answered", "judging", "judged", "failed", "lost", "dropped"]
"""``waiting``, ``calling``: the arm's call is due, is running. ``answered``, ``judging``: the judge's call is due,
is running. ``judged``: scored. ``failed``: no call gave an answer or a verdict. ``lost``: the process that
called was killed. ``dropped``: it was not made on its day.
"""
MAX_ATTEMPTS: Final = 3
"""Most calls of the arm, and of the judge, for one case, counting failures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenPrompt:
    """A prompt of a golden set.

    prompt_id : hash of its content. body : a chat request without a model. input_tokens : estimated.
    """

    prompt_id: str
    body: Mapping[str, object]
    input_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenRule:
    """The golden set of a policy.

    judge : name of the judge.
    usd_per_day : cap on the calls of arms and judge together, per UTC day.
    drift : how much loss is tolerated, for each arm.
    """

    policy: str
    judge: str
    prompts: tuple[GoldenPrompt, ...]
    usd_per_day: float
    drift: DriftRule


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenCase:
    """One prompt for one arm on one day.

    day : UTC day, counted from 1970-01-01.
    version : of arm and judge; scores of different versions are not comparable.
    position : of the prompt in the set.
    reserve_usd : set aside for its next call.
    answer : the text that the judge scores.
    attempts : of its next call, counting that one.
    lease : identifies the claim; None if not claimed.
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
    """The running drift test of one arm.

    test : ``ope.drops.GoldenTest`` as JSON.
    alarm_day : day of this version's first alarm, or None.
    """

    arm: str
    version: str
    test: str
    alarm_day: int | None = None
