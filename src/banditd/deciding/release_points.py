"""The recorded history of a release's tests: a bounded number of points, from which its course is drawn. Pure.

The longer a release has run, the further apart its points are; when there are too many, every other one is deleted.
So a release of an hour and one of three months have about the same number of points.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from banditd.deciding.release_course import Release

MOST_POINTS: Final = 200
LEAST_GAP_US: Final = 10_000_000


@dataclass(frozen=True, slots=True)
class MeasurePoint:
    """One measure at one moment.

    log_evidence : natural logarithm of the evidence against the candidate.
    difference : candidate minus incumbent where the two differ (more is better) with its interval; None before the
    first comparison.
    units : counted, of (candidate, incumbent).
    """

    log_evidence: float
    difference: float | None
    interval: tuple[float, float] | None
    units: tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleasePoint:
    """A release at one moment. step : index of its step. share : of the traffic, in [0, 1]. measures : by name."""

    at_us: int
    step: int
    share: float
    differs: float | None
    measures: Mapping[str, MeasurePoint]


def point_of(release: Release, at_us: int) -> ReleasePoint:
    """The release at present, as a point."""
    found = {}
    counted_by = {one.name: one.outcome for one in release.terms.guardrails}
    for name, test in release.tests.tests.items():
        split = release.tests.splits.get(counted_by.get(name, name))
        candidate, units = (0, 0) if split is None else (split.candidate, split.units)
        difference = test.total / test.comparisons if test.comparisons else None
        found[name] = MeasurePoint(test.log_evidence, difference, test.interval(), (candidate, units - candidate))
    return ReleasePoint(
        at_us=at_us, step=release.step, share=release.share, differs=release.tests.differs, measures=found
    )


def worth_keeping(release: Release, last_at_us: int | None, at_us: int) -> bool:
    """Whether it is time for another point. last_at_us : time of the previous one, or None."""
    gap_us = max(LEAST_GAP_US, (at_us - release.created_at_us) // MOST_POINTS)
    return last_at_us is None or at_us - last_at_us >= gap_us


def given_up(numbers: Sequence[int]) -> list[int]:
    """Which of the ordered points to delete: none while there are few, else every other one, but never the first
    or last.
    """
    return list(numbers[1:-1:2]) if len(numbers) > MOST_POINTS else []
