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


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """What a judge's version has said of a pair."""

    policy: str
    arm: str
    outcome: Outcome
