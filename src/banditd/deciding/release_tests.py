"""The tests of a running release, and what follows from them: go on, take the next step, or roll back. Pure.

Every measure has its own test (``ope/betting.py``), on the units where the drawn arm came from the part in which
candidate and incumbent differ. Every kind of outcome has a test of its split between the sides (``ope/split.py``).
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
    RatedSides,
    ReleaseTerms,
    UnitOutcome,
)
from banditd.deciding.release_windows import IN_A_ROW, Windows
from banditd.ope.betting import DropTest, evidence_of
from banditd.ope.split import SplitTest

QUIET: Final = 5.0
"""No step is taken while a metric's evidence is within this factor of an alarm."""
LEAST_DIFFERENCE: Final = 1e-3
"""Lower bound on the share of traffic where the two differ, when the tolerated loss is spread over it."""

RATED_ALIKE: Final = 0.05
"""If the two sides' rated shares differ by more than this, beyond chance, their rewards cannot be compared."""
BY_CHANCE: Final = 2.0  # standard errors

Kind = Literal["worse", "guardrail", "split", "windows"]


@dataclass(frozen=True, slots=True)
class Alarm:
    """Why a release ends. measure : the one whose test, or whose split, raised the alarm."""

    kind: Kind
    measure: str
    evidence: float


@dataclass(slots=True)
class ReleaseTests:
    """The state of all tests of a release.

    tests : by metric or guardrail. splits : by kind of outcome.
    differs : mean share of a decision on which candidate and incumbent differ, over the newest decisions; None before
    any.
    counted_before : by metric, rated units of the candidate when the present step began.
    alone : by metric, its rated units while it had all the traffic, so that nothing was compared.
    measured_by : judges and prices -> what they are; None before the first look.
    matures_us : outcomes of younger decisions wait.
    rated : for each side, (rated, decided) of the decisions up to ``rated_until``.
    """

    tests: dict[str, DropTest] = field(default_factory=dict)
    splits: dict[str, SplitTest] = field(default_factory=dict)
    differs: float | None = None
    counted_before: dict[str, int] = field(default_factory=dict)
    windows: Windows = field(default_factory=Windows)
    measured_by: dict[str, str] | None = None
    matures_us: int = 0
    rated: dict[str, list[int]] = field(default_factory=lambda: {"candidate": [0, 0], "incumbent": [0, 0]})
    rated_until: str = ""
    alone: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, terms: ReleaseTerms) -> ReleaseTests:
        """Tests without any data."""
        names = [one.name for one in _measures(terms)]
        kinds = [one.name for one in terms.metrics] + [one.outcome for one in terms.guardrails]
        return cls({name: DropTest() for name in names}, {name: SplitTest() for name in kinds})

    def add(self, terms: ReleaseTerms, outcome: UnitOutcome, at_us: int) -> None:
        """Add an outcome, the first of its kind for its unit."""
        split = self.splits.get(outcome.measure)
        if split is None:
            return
        split.add(candidate=outcome.candidate, share=outcome.share)
        if outcome.candidate and outcome.share >= 1.0:
            self.alone[outcome.measure] = self.alone.get(outcome.measure, 0) + 1
        first = terms.metrics[0].name
        if terms.windowed and first in outcome.values:
            self.windows.add(outcome.values[first], candidate=outcome.candidate, at_us=at_us)
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
        """The alarm that ends the release, or None."""
        if terms.windowed and self.windows.failed >= IN_A_ROW:
            return Alarm("windows", terms.metrics[0].name, 0.0)
        for name, kind, log_needed in self._limits(terms):
            reached = self.splits[name] if kind == "split" else self.tests[name]
            if reached.log_evidence >= log_needed:
                return Alarm(kind, name, evidence_of(reached.log_evidence))
        return None

    def _limits(self, terms: ReleaseTerms) -> list[tuple[str, Kind, float]]:
        found: list[tuple[str, Kind, float]] = [(one.name, "worse", needed(terms, one.name)) for one in terms.metrics]
        found += [(one.name, "guardrail", needed(terms, one.name)) for one in terms.guardrails]
        return found + [(name, "split", -math.log(SPLIT_ALPHA)) for name in self.splits]

    def missing(self, terms: ReleaseTerms, step: int) -> dict[str, int]:
        """By metric, rated units of the candidate that the step still needs; empty if none."""
        wanted = {}
        for metric in terms.metrics:
            counted = self.splits[metric.name].candidate - self.counted_before.get(metric.name, 0)
            if terms.steps[step] >= 1.0:
                counted = self.alone.get(metric.name, 0)
            wanted[metric.name] = terms.least(step) - counted
        return {name: number for name, number in wanted.items() if number > 0}

    def uncompared(self, terms: ReleaseTerms, step: int) -> dict[str, tuple[int, int]]:
        """By metric, (units compared before, units needed) where a step at 100 % has too few; it compares no more.

        The need is that of the step before; empty at a step that compares, and if no step does.
        """
        if terms.steps[step] < 1.0 or step == 0:
            return {}
        wanted = terms.least(step - 1)
        compared = {metric.name: self.splits[metric.name].candidate for metric in terms.metrics}
        return {name: (number, wanted) for name, number in compared.items() if number < wanted}

    def suspected(self, terms: ReleaseTerms) -> list[str]:
        """Measures whose evidence is too near to an alarm for a step to be taken."""
        near = math.log(QUIET)
        return [
            name
            for name, kind, log_needed in self._limits(terms)
            if kind != "split" and self.tests[name].log_evidence > log_needed - near
        ]

    def count_rated(self, seen: RatedSides) -> None:
        """Count decisions that are old enough to have been rated, each once."""
        if seen.after_id != self.rated_until:
            return  # they were counted before
        self.rated_until = seen.until_id
        for side, counted in (("candidate", seen.candidate), ("incumbent", seen.incumbent)):
            self.rated[side] = [was + more for was, more in zip(self.rated[side], counted, strict=True)]

    @property
    def rated_apart(self) -> tuple[float, float] | None:
        """The rated shares of (candidate, incumbent), if they differ too much for a comparison; else None."""
        (rated, decided), (other_rated, other_decided) = self.rated["candidate"], self.rated["incumbent"]
        if not decided or not other_decided:
            return None
        ours, theirs = rated / decided, other_rated / other_decided
        pooled = (rated + other_rated) / (decided + other_decided)
        error = math.sqrt(pooled * (1.0 - pooled) * (1.0 / decided + 1.0 / other_decided))
        return (ours, theirs) if abs(ours - theirs) > max(RATED_ALIKE, BY_CHANCE * error) else None

    def begin_step(self) -> None:
        """Start counting the units of the next step."""
        self.counted_before = {name: split.candidate for name, split in self.splits.items()}

    def as_json(self) -> dict[str, Any]:
        """JSON-compatible values."""
        return {
            "tests": {name: test.as_json() for name, test in self.tests.items()},
            "splits": {name: split.as_json() for name, split in self.splits.items()},
            "differs": self.differs,
            "counted_before": self.counted_before,
            "windows": self.windows.as_json(),
            "measured_by": self.measured_by,
            "matures_us": self.matures_us,
            "rated": self.rated,
            "rated_until": self.rated_until,
            "alone": self.alone,
        }

    @classmethod
    def of_json(cls, kept: Mapping[str, Any]) -> ReleaseTests:
        """Inverse of ``as_json``. Raises KeyError, TypeError or ValueError for anything else."""
        return cls(
            {name: DropTest.of_json(test) for name, test in kept["tests"].items()},
            {name: SplitTest.of_json(split) for name, split in kept["splits"].items()},
            kept["differs"],
            dict(kept["counted_before"]),
            **_later(kept),
        )


def _later(kept: Mapping[str, Any]) -> dict[str, Any]:
    """Defaults for fields that older releases did not store."""
    names = ("measured_by", "matures_us", "rated", "rated_until", "alone")
    found = {name: kept[name] for name in names if name in kept}
    return found | ({"windows": Windows.of_json(kept["windows"])} if "windows" in kept else {})


def _measures(terms: ReleaseTerms) -> list[Metric | Guardrail]:
    return [*terms.metrics, *terms.guardrails]


def needed(terms: ReleaseTerms, name: str) -> float:
    """Natural logarithm of the evidence at which the measure of that name ends the release."""
    for metric in terms.metrics:
        if metric.name == name:
            return math.log(len(terms.metrics) / metric.alpha)
    return -math.log(GUARDRAIL_ALPHA)
