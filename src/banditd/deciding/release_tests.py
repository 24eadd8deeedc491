"""What is known of a running release, and what follows from it: go on, take the next step, or take it back. Pure.

Every measure has a test of its own (``ope/betting.py``) on the units where candidate and incumbent drew from what
they do not have in common, and every kind of outcome one of its split (``ope/split.py``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from banditd.core.release import (
    GUARDRAIL_ALPHA,
    SPLIT_ALPHA,
    Guardrail,
    Metric,
    ReleaseTerms,
    UnitOutcome,
)
from banditd.ope.betting import DropTest
from banditd.ope.split import SplitTest

QUIET: Final = 5.0
"""No step is taken while a metric's evidence is within this factor of an alarm."""
LEAST_DIFFERENCE: Final = 1e-3
"""Share of the traffic on which the two differ at least, where what is tolerated is spread over it."""

Kind = Literal["worse", "guardrail", "split"]


@dataclass(frozen=True, slots=True)
class Alarm:
    """Why a release ends. measure : whose test, or whose split."""

    kind: Kind
    measure: str
    evidence: float


@dataclass(slots=True)
class ReleaseTests:
    """tests : by metric or guardrail. splits : by kind of outcome. differs : mean share of a decision on which
    candidate and incumbent differ, by the newest decisions; None before any. counted_before : rated units of the
    candidate when the present step began, by metric.
    """

    tests: dict[str, DropTest] = field(default_factory=dict)
    splits: dict[str, SplitTest] = field(default_factory=dict)
    differs: float | None = None
    counted_before: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, terms: ReleaseTerms) -> ReleaseTests:
        """Nothing is known yet."""
        names = [one.name for one in _measures(terms)]
        kinds = [one.name for one in terms.metrics] + [one.outcome for one in terms.guardrails]
        return cls({name: DropTest() for name in names}, {name: SplitTest() for name in kinds})

    def add(self, terms: ReleaseTerms, outcome: UnitOutcome) -> None:
        """The first outcome of its kind of a unit."""
        split = self.splits.get(outcome.measure)
        if split is None:
            return
        split.add(candidate=outcome.candidate, share=outcome.share)
        if not outcome.differ or not 0.0 < outcome.share < 1.0:
            return
        tolerated = {one.name: one.worse_by for one in _measures(terms)}
        part = max(self.differs if self.differs is not None else 1.0, LEAST_DIFFERENCE)
        for name, value in outcome.values.items():
            if name in self.tests and name in tolerated:
                self.tests[name].add(
                    value, candidate=outcome.candidate, share=outcome.share, worse_by=tolerated[name] / part
                )

    def alarm(self, terms: ReleaseTerms) -> Alarm | None:
        """Why the release has to end; None where nothing speaks for it."""
        for name, kind, log_needed in self._limits(terms):
            reached = self.splits[name] if kind == "split" else self.tests[name]
            if reached.log_evidence >= log_needed:
                return Alarm(kind, name, math.exp(min(reached.log_evidence, 700.0)))
        return None

    def _limits(self, terms: ReleaseTerms) -> list[tuple[str, Kind, float]]:
        found: list[tuple[str, Kind, float]] = [(one.name, "worse", needed(terms, one.name)) for one in terms.metrics]
        found += [(one.name, "guardrail", needed(terms, one.name)) for one in terms.guardrails]
        return found + [(name, "split", -math.log(SPLIT_ALPHA)) for name in self.splits]

    def missing(self, terms: ReleaseTerms, step: int) -> dict[str, int]:
        """Rated units of the candidate that the step still wants, by metric; empty where it has them all.

        The last step wants none: nobody is left to compare with.
        """
        if terms.steps[step] >= 1.0:
            return {}
        wanted = {}
        for metric in terms.metrics:
            counted = self.splits[metric.name].candidate - self.counted_before.get(metric.name, 0)
            wanted[metric.name] = terms.least(step) - counted
        return {name: number for name, number in wanted.items() if number > 0}

    def suspected(self, terms: ReleaseTerms) -> list[str]:
        """Measures whose evidence is so near to an alarm that no step is taken."""
        near = math.log(QUIET)
        return [
            name
            for name, kind, log_needed in self._limits(terms)
            if kind != "split" and self.tests[name].log_evidence > log_needed - near
        ]

    def begin_step(self) -> None:
        """Count the units of the next step from here on."""
        self.counted_before = {name: split.candidate for name, split in self.splits.items()}

    def as_json(self) -> dict[str, Any]:
        """What is kept."""
        return {
            "tests": {name: test.as_json() for name, test in self.tests.items()},
            "splits": {name: split.as_json() for name, split in self.splits.items()},
            "differs": self.differs,
            "counted_before": self.counted_before,
        }

    @classmethod
    def of_json(cls, kept: Mapping[str, Any]) -> ReleaseTests:
        """Raises KeyError, TypeError, ValueError for what was never kept."""
        return cls(
            {name: DropTest.of_json(test) for name, test in kept["tests"].items()},
            {name: SplitTest.of_json(split) for name, split in kept["splits"].items()},
            kept["differs"],
            dict(kept["counted_before"]),
        )


def _measures(terms: ReleaseTerms) -> list[Metric | Guardrail]:
    return [*terms.metrics, *terms.guardrails]


def needed(terms: ReleaseTerms, name: str) -> float:
    """Logarithm of the evidence at which the measure of that name ends the release."""
    for metric in terms.metrics:
        if metric.name == name:
            return math.log(len(terms.metrics) / metric.alpha)
    return -math.log(GUARDRAIL_ALPHA)
