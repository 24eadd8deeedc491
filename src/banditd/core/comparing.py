"""Comparisons: which of two answers to the same query a judge prefers, asked in both orders. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Outcome = Literal["baseline", "served", "same", "inconsistent"]
"""Which answer is better: the baseline's or the served one (preferred in both orders), neither (``same``), or
``inconsistent`` if the preference changed with the order.
"""
Better = Literal["first", "second", "same"]


def outcome_of(served_first: Better, baseline_first: Better) -> Outcome:
    """Combine two verdicts on one pair: one with the served answer first, one with the baseline's first.

    An answer is preferred only if both orders prefer it. If either verdict is ``same``, so is the outcome.
    """
    one = {"first": "served", "second": "baseline", "same": "same"}[served_first]
    other = {"first": "baseline", "second": "served", "same": "same"}[baseline_first]
    if one == other:
        return "baseline" if one == "baseline" else "served" if one == "served" else "same"
    return "same" if "same" in {one, other} else "inconsistent"


@dataclass(frozen=True, slots=True, kw_only=True)
class PairToCompare:
    """Two answers to one query: the one that was served, and a probe's.

    served_arm : the arm that served. arm : the arm that was probed.
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
    """A claimed pair. lease : identifies this claim. attempts : counts this one."""

    task_id: str
    lease: str
    attempts: int
    pair: PairToCompare


@dataclass(frozen=True, slots=True)
class Orders:
    """The verdicts on a pair: with the served answer first, and with the baseline's first."""

    served_first: Better
    baseline_first: Better

    @property
    def outcome(self) -> Outcome:
        """The outcome of both verdicts together."""
        return outcome_of(self.served_first, self.baseline_first)


def shows_served_first(task_id: str) -> bool:
    """Whether the served answer is shown first to whoever leases the pair.

    A coin toss that the texts do not reveal and that is the same for every lease.
    """
    return int(task_id[-1], 16) % 2 == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A judge version's verdict on a pair.

    served_chars, answer_chars : lengths of the served and the baseline's answer as compared; None for old verdicts.
    """

    policy: str
    arm: str
    outcome: Outcome
    served_chars: int | None = None
    answer_chars: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredComparison:
    """A comparison as stored.

    arm : the baseline.
    probability : with which the query was probed, in (0, 1].
    orders : None for old comparisons.
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
    """Selects comparisons, newest decisions first. before_id : only decisions older than this one."""

    judge: str | None = None
    policy: str | None = None
    before_id: str | None = None
    limit: int = 50
