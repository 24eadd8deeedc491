"""Releases whose candidate is as good as the incumbent, at the edge of what is tolerated, or worse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from banditd.ope.betting import DropTest, compared, growth, log_evidence

PASSES: Final = 0.9
WORSE_BY: Final = 0.02
SHARE: Final = 0.1
MONTH_MINUTES: Final = 30 * 24 * 60
WINDOW_MINUTES: Final = 15
LEAST_ANSWERS: Final = 5
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class ReleaseCase:
    """drop : of the candidate's quality over all traffic. differs : share of the traffic on which the two differ;
    what is compared is that alone. shock : taken off both half way. needed : evidence of an alarm. units : of the
    candidate that are rated, at most. graded : scores instead of passes, with this deviation.
    """

    name: str
    drop: float
    differs: float = 1.0
    shock: float = 0.0
    needed: float = 100.0
    units: int = 4000
    share: float = SHARE
    graded: float | None = None


RELEASE_CASES: Final = (
    ReleaseCase("equal", 0.0),
    ReleaseCase("at the edge: worse by .02", 0.02),
    ReleaseCase("at the edge, differs on 30 %", 0.02, differs=0.3),
    ReleaseCase("both fall by .10 half way", 0.0, shock=0.1),
    ReleaseCase("worse by .10", 0.1, needed=300.0),
    ReleaseCase("worse by .10, scores", 0.1, needed=300.0, graded=0.2),
    ReleaseCase("worse by .10, on half of the traffic", 0.1, needed=300.0, share=0.5),
    ReleaseCase("worse by .05", 0.05, needed=300.0),
    ReleaseCase("worse by .05, differs on 30 %", 0.05, differs=0.3, needed=300.0),
    ReleaseCase("worse by .05, differs on 15 %", 0.05, differs=0.15, needed=300.0),
)


@dataclass(frozen=True, slots=True)
class Alarms:
    """Share of the releases that were taken back, and after how many rated units of the candidate at the median."""

    case: str
    runs: int
    alarms: float
    median_units: int | None


def alarms(case: ReleaseCase, runs: int, progress: Progress) -> Alarms:
    """Compare rated units as ``DropTest`` does, all at once, and look after each."""
    after: list[int] = []
    for seed in range(runs):
        rng = np.random.default_rng((85, seed))
        own, other = compared(case.share)
        units = own * np.arange(1, case.units // own + 1)
        shock = np.where(units > case.units / 2, case.shock, 0.0)
        difference = _mean(rng, case, own, PASSES - shock - case.drop / case.differs) - _mean(
            rng, case, other, PASSES - shock
        )
        stakes = growth(difference, WORSE_BY / case.differs).cumsum(0)
        reached = np.flatnonzero(log_evidence(stakes) >= np.log(case.needed))
        if reached.size:
            after.append(int(units[reached[0]]))
        progress(1)
    return Alarms(case.name, runs, len(after) / runs, _median(after, runs))


def unit_by_unit(case: ReleaseCase, runs: int, progress: Progress) -> Alarms:
    """The same by ``DropTest`` itself, which lets units wait and drops old ones."""
    after: list[int] = []
    for seed in range(runs):
        rng = np.random.default_rng((58, seed))
        test = DropTest()
        while test.units[0] < case.units:
            candidate = bool(rng.random() < case.share)
            quality = PASSES - candidate * case.drop / case.differs
            value = float(_mean(rng, case, 1, np.array([quality]))[0])
            test.add(value, candidate=candidate, share=case.share, worse_by=WORSE_BY / case.differs)
            if candidate and test.log_evidence >= np.log(case.needed):
                after.append(test.units[0])
                break
        progress(1)
    return Alarms(f"{case.name}, unit by unit", runs, len(after) / runs, _median(after, runs))


def _median(after: list[int], runs: int) -> int | None:
    """A release that is never taken back counts as one that takes longer than all others."""
    return sorted(after)[runs // 2] if len(after) > runs // 2 else None


def _mean(rng: np.random.Generator, case: ReleaseCase, units: int, quality: np.ndarray) -> np.ndarray:
    """The mean of so many values each."""
    if case.graded is None:
        return rng.binomial(units, np.clip(quality, 0.0, 1.0)) / units
    # The mean of scores round a quality below 1, cut off where one value would be.
    return np.clip(rng.normal(quality - 0.1, case.graded / np.sqrt(units)), 0.0, 1.0)


@dataclass(frozen=True, slots=True)
class WindowCase:
    """Rated answers a minute on the candidate's side; the incumbent has nine times as many."""

    name: str
    per_minute: float


WINDOW_CASES: Final = (
    WindowCase("1 answer a minute, 10 %", 0.1),
    WindowCase("10 a minute, 10 %", 1.0),
    WindowCase("1 a second, 10 %", 6.0),
    WindowCase("10 a second, 10 %", 60.0),
)


@dataclass(frozen=True, slots=True)
class WindowAlarms:
    """False alarms of the 15-minute rule in 30 days, with an equal candidate: by what is taken for the noise."""

    case: str
    answers: float
    deviation: float
    interval: float
    scaled: float


def window_alarms(case: WindowCase, months: int, progress: Progress) -> WindowAlarms:
    """Candidate below incumbent by 1.5 times the noise of windows of 15 minutes, looked at every minute.

    The noise is the deviation of the incumbent's own windows, 1.96 times it, or 1.96 deviations of a mean of as many
    answers as the candidate has, at least five. After an alarm the next 15 minutes raise none.
    """
    found = np.zeros(3)
    for seed in range(months):
        rng = np.random.default_rng((15, seed))
        mean, count = _windows(rng, case.per_minute)
        other, _ = _windows(rng, 9.0 * case.per_minute)
        deviation = float(np.nanstd(other))
        scaled = 1.96 * np.sqrt(PASSES * (1.0 - PASSES) / np.maximum(count, 1))
        below = other - mean
        for place, (noise, least) in enumerate(((deviation, 1), (1.96 * deviation, 1), (scaled, LEAST_ANSWERS))):
            found[place] += _apart((count >= least) & (below > 1.5 * noise))
        progress(1)
    by_deviation, by_interval, by_scaled = found / months
    answers = WINDOW_MINUTES * case.per_minute
    return WindowAlarms(case.name, answers, float(by_deviation), float(by_interval), float(by_scaled))


def _windows(rng: np.random.Generator, per_minute: float) -> tuple[np.ndarray, np.ndarray]:
    """(mean, answers) of the window that ends with each minute of 30 days; NaN without answers."""
    answers = rng.poisson(per_minute, MONTH_MINUTES)
    passed = rng.binomial(answers, PASSES)
    ones = np.ones(WINDOW_MINUTES)
    count = np.convolve(answers, ones, "valid")
    total = np.convolve(passed, ones, "valid")
    return np.where(count > 0, total / np.maximum(count, 1), np.nan), count


def _apart(alarm: np.ndarray) -> int:
    """Alarms that are a window apart."""
    found, free = 0, 0
    for minute in np.flatnonzero(alarm).tolist():
        if minute >= free:
            found, free = found + 1, minute + WINDOW_MINUTES
    return found
