"""Probes: another arm answers a query that has already been answered, and a judge scores that answer. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

ProbeState = Literal["waiting", "calling", "answered", "failed", "lost", "dropped"]
"""``waiting``: not made yet. ``calling``: an arm is being called. ``answered``: its answer is with the judge.
``failed``: no call gave an answer. ``lost``: the process that called was killed. ``dropped``: it was not made
in time.
"""
WAITS_S: Final = 3600.0
"""A probe that has not been made by then is dropped and its request is deleted."""
MOST_WAITING: Final = 1000
"""Most probes that may wait for one judge; further ones are dropped and counted."""
MAX_ATTEMPTS: Final = 3
"""Most calls for one probe, counting failures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeRule:
    """How much is probed.

    share : share of the answers, in (0, 1].
    usd_per_day : cap on the cost of the calls in any 24 hours.
    arms : most other arms that answer one query.
    compare : whether the baseline is always one of them, until it is known how often its answer is better than the
    served one.
    """

    share: float
    usd_per_day: float
    arms: int = 1
    compare: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeRequest:
    """One call to make: a query, sent to an arm that did not answer it.

    probability : of asking this arm this query, in (0, 1].
    reserve_usd : set aside for the call.
    body : the client's JSON object, as text. headers : the client's headers that the call needs.
    served_arm, served_answer : set if the answer is to be compared with the served one.
    """

    decision_id: str
    judge: str
    policy: str
    arm: str
    probability: float
    reserve_usd: float
    surface: str
    body: str
    headers: Mapping[str, str] = field(default_factory=dict)
    input_tokens: int = 0
    created_at_us: int
    expires_at_us: int
    served_arm: str | None = None
    served_answer: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeTask:
    """A claimed probe. lease : identifies this claim. attempts : counts this one."""

    probe_id: str
    lease: str
    attempts: int
    request: ProbeRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeTally:
    """Counts of one judge's probes that went to one arm. cost_usd : of their calls."""

    judge: str
    arm: str
    drawn: int
    answered: int
    cost_usd: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeAccount:
    """Totals of the probes for one judge.

    drawn : (query, arm) pairs that were sampled.
    dropped : pairs for which there was no money or no room, or that could not be made in time.
    answered : answers handed to the judge.
    failed : pairs for which no call gave an answer with text.
    lost : pairs whose calling process was killed.
    cost_usd : cost of the calls, including what is set aside for those under way.
    """

    drawn: int = 0
    dropped: int = 0
    answered: int = 0
    failed: int = 0
    lost: int = 0
    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
