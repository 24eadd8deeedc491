"""An evaluation: what the log, or cases with known scores, say of a candidate. Values; no behaviour, no I/O."""

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
    """What is to be found out.

    candidate : a copy; it may be deleted meanwhile. against : ``incumbent``, the policy as it stands, or the name of
    an arm. since_us, until_us : decisions of that time; None: no end. margin : of mean reward, that the candidate may
    be worse. interval : ``fixed`` holds at one look, ``anytime`` at all looks together. method : ``log``;
    ``cases`` that came with the question and are not kept; or ``shadow``, what is counted while the policy decides.
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
    """What was found out. reason : why, in words. settles : what would settle it. figures : as JSON has them."""

    phase: Phase
    reason: str
    settles: str | None = None
    figures: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """A question and how far it is. done, total : decisions of the log. attempts : times that it was begun."""

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
    """text : the prompt. scores : by arm, in [0, 1]. tags : of the query."""

    text: str
    scores: Mapping[str, float]
    tags: Mapping[str, str] = field(default_factory=dict)
