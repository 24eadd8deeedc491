"""Probes: another arm's answer to a query that was answered already, for a judge to score. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

ProbeState = Literal["waiting", "calling", "answered", "failed", "lost", "dropped"]
"""It waits to be made; an arm is being called; its answer is with the judge; no call gave one; whoever called was
killed; it was not made in time."""
WAITS_S: Final = 3600.0
"""A probe that was not made by then is not made: its request is deleted."""
MOST_WAITING: Final = 1000
"""Of one judge; more are dropped and counted."""
MAX_ATTEMPTS: Final = 3
"""Calls for one probe, the failed ones included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeRule:
    """share : of the answers, in (0, 1]; usd_per_day : cap on what the calls cost in any 24 hours; arms : other arms
    that answer one query at most. compare : whether the baseline is one of them until it is known how often its
    answer is better than what was served.
    """

    share: float
    usd_per_day: float
    arms: int = 1
    compare: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeRequest:
    """One call to be made: a query, sent to an arm that did not answer it.

    probability : of this arm being asked this query, in (0, 1]. reserve_usd : what is set aside for the call.
    body : the client's JSON object, as text. headers : of the client's, those that the call needs. served_arm,
    served_answer : where the answer is to be compared with the one that was served.
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
    """A probe that is claimed. lease : names this claim. attempts : this one included."""

    probe_id: str
    lease: str
    attempts: int
    request: ProbeRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeTally:
    """Some of the probes for one judge that went to one arm. cost_usd : of their calls."""

    judge: str
    arm: str
    drawn: int
    answered: int
    cost_usd: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeAccount:
    """Sums of the probes for one judge.

    drawn : (query, arm) pairs that the coin chose. dropped : those of them for which there was no money or room, or
    that could not be made in time. answered : by the arm, and handed to the judge. failed : no call gave an answer
    with text. lost : whoever called was killed. cost_usd : of the calls, with what is set aside for those under way.
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
