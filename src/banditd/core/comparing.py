"""Comparisons: which of two answers to the same query a judge prefers, asked in both orders. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Outcome = Literal["baseline", "served", "same", "inconsistent"]
"""Whose answer is better: the baseline's or the served one's in both orders; neither's; another one in each order."""
Better = Literal["first", "second", "same"]


def outcome_of(served_first: Better, baseline_first: Better) -> Outcome:
    """Of two verdicts on one pair: with the served answer as the first, and with the baseline's.

    Preferred is only what is preferred in both orders. One that says ``same`` in one of them prefers neither.
    """
    one = {"first": "served", "second": "baseline", "same": "same"}[served_first]
    other = {"first": "baseline", "second": "served", "same": "same"}[baseline_first]
    if one == other:
        return "baseline" if one == "baseline" else "served" if one == "served" else "same"
    return "same" if "same" in {one, other} else "inconsistent"


@dataclass(frozen=True, slots=True, kw_only=True)
class PairToCompare:
    """Two answers to one query. arm : whose answer the second is, a probe's; served_arm : whose was served.

    probability : with which the query was probed, in (0, 1].
    """

    decision_id: str
    judge: str
    policy: str
    arm: str
    served_arm: str
    probability: float
    question: str
    served_answer: str
    answer: str
    created_at_us: int
    expires_at_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonTask:
    """A pair that is claimed. lease : names this claim. attempts : this one included."""

    task_id: str
    lease: str
    attempts: int
    pair: PairToCompare


@dataclass(frozen=True, slots=True)
class Orders:
    """What was said of a pair with the served answer as the first, and with the baseline's."""

    served_first: Better
    baseline_first: Better

    @property
    def outcome(self) -> Outcome:
        """Of both."""
        return outcome_of(self.served_first, self.baseline_first)


def shows_served_first(task_id: str) -> bool:
    """Whether whoever leases the pair is shown the served answer as the first: a coin that cannot be guessed from
    the texts, the same at every lease.
    """
    return int(task_id[-1], 16) % 2 == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """What a judge's version has said of a pair. served_chars, answer_chars : lengths of the served answer and of the
    baseline's, as they were compared; None of old ones.
    """

    policy: str
    arm: str
    outcome: Outcome
    served_chars: int | None = None
    answer_chars: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredComparison:
    """A comparison as stored. arm : the baseline. probability : with which the query was probed, in (0, 1].

    orders : None of old ones.
    """

    decision_id: str
    judge: str
    version: str
    policy: str
    arm: str
    served_arm: str
    probability: float
    outcome: Outcome
    orders: Orders | None
    served_chars: int | None
    answer_chars: int | None
    cost_usd: float
    compared_at_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonFilter:
    """Which comparisons, newest decisions first. before_id : only of older decisions than that one."""

    judge: str | None = None
    policy: str | None = None
    before_id: str | None = None
    limit: int = 50
