"""Schemas of comparisons: which of two answers to one query is better."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from banditd.core.comparing import Better, Outcome
from banditd.web.schemas.base import (
    AnswerModel,
    Dollars,
    Identifier,
    IntegerParameter,
    Name,
    ParameterModel,
    RequestModel,
    Time,
)


class ComparisonParameters(ParameterModel):
    """Which comparisons."""

    judge: Name | None = None
    policy: Name | None = None
    before_id: Identifier | None = None
    """Only of decisions that are older than this one."""
    limit: Annotated[IntegerParameter, Field(ge=1, le=500)] = 50


class ComparisonAnswer(AnswerModel):
    """What a judge said of the answer that was served and of the baseline's, asked in both orders."""

    decision_id: str
    policy: str
    judge: str
    version: str
    """Of the judge."""
    served_arm: str
    baseline: str
    outcome: Outcome
    """Preferred in both orders, or ``same``, or ``inconsistent``: another one in each."""
    served_first: Better | None
    """What was said with the served answer as the first; null of comparisons that an older version has kept."""
    baseline_first: Better | None
    probability: float
    """With which the query was probed."""
    served_chars: int | None
    """Length of the answer as it was compared, cut at the judge's ``max_chars``."""
    baseline_chars: int | None
    cost_usd: float
    compared_at: Time


class ComparisonsAnswer(AnswerModel):
    """Comparisons, newest decisions first; all of the last decision, so that there may be more than ``limit``."""

    comparisons: list[ComparisonAnswer]
    next_before_id: str | None
    """For the next page; null on the last one."""


class PairAnswer(AnswerModel):
    """Two answers to compare. Which of them was served is not said."""

    task_id: str
    lease: str
    """Give it back with the result."""
    decision_id: str
    policy: str
    question: str
    """The conversation up to the answers."""
    first: str
    second: str
    attempt: int
    leased_until: Time


class ComparisonLeaseAnswer(AnswerModel):
    """The claimed pairs; none where nothing waits."""

    judge: str
    rubric: str
    """What makes an answer good."""
    pairs: list[PairAnswer]


class ComparisonRequest(RequestModel):
    """What was said of a claimed pair, in both orders; or ``failed``, and the pair is for somebody else."""

    task_id: Identifier
    lease: Identifier
    better: Better | None = None
    """With the answers in the order in which they were given."""
    better_swapped: Better | None = None
    """With the second one as the first: ``first`` names what was given as the second."""
    failed: bool = False
    cost_usd: Dollars = 0.0
    """What both took, for the account of the judge."""

    @model_validator(mode="after")
    def _both(self) -> Self:
        given = [one is not None for one in (self.better, self.better_swapped)]
        if given != [not self.failed] * 2:
            raise ValueError("give better and better_swapped, or failed: true")
        return self

    def verdicts(self) -> tuple[Better, Better] | None:
        """In the order in which the pair was given, and in the other one; None where it was given back."""
        if self.better is None or self.better_swapped is None:
            return None
        return self.better, self.better_swapped


class ComparisonResultAnswer(AnswerModel):
    """What is kept."""

    task_id: str
    decision_id: str | None
    """Null of a pair that was given back."""
    outcome: Outcome | None
    duplicate: bool
    """The same was handed in before."""
