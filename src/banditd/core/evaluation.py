"""Evaluations: what the log, or cases with known scores, say about a candidate. Values; no behaviour, no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from banditd.core.candidate import Candidate

Phase = Literal["running", "passed", "failed", "inconclusive", "error"]
IntervalKind = Literal["fixed", "anytime"]
Method = Literal["log", "cases", "shadow"]
INCUMBENT: Final = "incumbent"
DEFAULT_MARGIN: Final = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What an evaluation is to find out.

    candidate : a copy; the original may be deleted in the meantime.
    against : ``incumbent`` (the policy as it is) or the name of an arm.
    since_us, until_us : time range of the decisions; None: unbounded.
    margin : how much lower the candidate's mean reward may be.
    interval : ``fixed`` is valid at one look, ``anytime`` at all looks together.
    method : ``log``; ``cases`` (sent with the question, not kept); or ``shadow`` (counted while the policy decides).
    """

    candidate: Candidate
    against: str = INCUMBENT
    since_us: int | None = None
    until_us: int | None = None
    margin: float = DEFAULT_MARGIN
    interval: IntervalKind = "fixed"
    method: Method = "log"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The result of an evaluation.

    reason : why, in words.
    settles : what would be needed for a clear answer.
    figures : JSON-compatible values.
    """

    phase: Phase
    reason: str
    settles: str | None = None
    figures: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """A question and its progress. done, total : decisions of the log. attempts : how often it was started."""

    evaluation_id: str
    question: Question
    created_at_us: int
    key_name: str | None = None
    finding: Finding | None = None
    finished_at_us: int | None = None
    done: int = 0
    total: int = 0
    attempts: int = 0

    @property
    def phase(self) -> Phase:
        return "running" if self.finding is None else self.finding.phase


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredCase:
    """A case with known scores. text : the prompt. scores : arm -> score in [0, 1]. tags : the query's tags."""

    text: str
    scores: Mapping[str, float]
    tags: Mapping[str, str] = field(default_factory=dict)
