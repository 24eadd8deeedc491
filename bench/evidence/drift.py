"""A loss of .3 points a day, and a quiet quarter: what finds the one, and what raises alarms in the other."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from banditd.core.anchor import DriftRule
from banditd.ope.betting import compared
from banditd.ope.drops import BASELINE_DAYS, AnchorTest, DropDetector, GoldenTest
from banditd.ope.level import level_of

PASSES: Final = 0.9
DAYS: Final = 105
"""Two weeks without a loss, and a quarter."""
LOSS_A_DAY: Final = 0.003
MIX: Final = 0.01
"""Deviation of a day's mean by the mix of its traffic, which moves slowly (``KEPT`` of it from day to day)."""
KEPT: Final = 0.8
ANCHOR_SHARE: Final = 0.05
PROMPTS: Final = 50
FLIPS: Final = 0.05
RULE: Final = DriftRule()
WINDOW_DAYS: Final = 7
WINDOW_DEVIATIONS: Final = 3.0
JUDGED_A_DAY: Final = (20, 100, 500, 2000, 10_000)
Progress = Callable[[int], None]
Watcher = Callable[[np.random.Generator, float], int | None]
"""The day of the alarm; None for none. Of a world, and the loss a day from ``BASELINE_DAYS`` on."""


@dataclass(frozen=True, slots=True)
class DriftFound:
    """days : from the first day of the loss until it is found, at the median; None where most runs do not find it
    in the quarter. false_alarms : share of quiet quarters with one.
    """

    watcher: str
    judged_a_day: int
    runs: int
    days: int | None
    found: float
    false_alarms: float


def losses(loss: float) -> np.ndarray:
    """What is lost on each day, float64 (DAYS,)."""
    return loss * np.maximum(np.arange(DAYS) - BASELINE_DAYS, 0.0)


def mix(rng: np.random.Generator) -> np.ndarray:
    """What the mix of each day's traffic adds to the mean, float64 (DAYS,)."""
    found, now = np.empty(DAYS), rng.normal(0.0, MIX)
    for day in range(DAYS):
        found[day] = now
        now = KEPT * now + math.sqrt(1.0 - KEPT * KEPT) * rng.normal(0.0, MIX)
    return found


def anchor(judged: int, differs: float = 1.0) -> Watcher:
    """Live traffic against the anchor's twentieth. differs : share on which the two draw otherwise."""
    live, anchored = compared(1.0 - ANCHOR_SHARE)

    def watch(rng: np.random.Generator, loss: float) -> int | None:
        detector, moved, lost = DropDetector(), mix(rng), losses(loss)
        for day in range(DAYS):
            number = int(rng.binomial(judged, ANCHOR_SHARE * differs)) // anchored
            best = PASSES + moved[day]
            worse = min(max(best - lost[day] / differs, 0.0), 1.0)
            difference = rng.binomial(live, worse, number) / live - rng.binomial(anchored, min(best, 1.0), number)
            detector.take(day, difference, RULE.worse_by / differs)
            if detector.log_evidence >= RULE.log_needed:
                return day
        return None

    return watch


def anchor_by_units(judged: int) -> Watcher:
    """The same by ``AnchorTest`` itself, which lets units wait."""

    def watch(rng: np.random.Generator, loss: float) -> int | None:
        test, moved, lost = AnchorTest(), mix(rng), losses(loss)
        for day in range(DAYS):
            live = rng.random(judged) >= ANCHOR_SHARE
            passed = rng.random(judged) < PASSES + moved[day] - live * lost[day]
            for on_live, value in zip(live.tolist(), passed.tolist(), strict=True):
                test.count(
                    float(value), live=on_live, differ=True, share=ANCHOR_SHARE, day=day, worse_by=RULE.worse_by
                )
            if test.detector.log_evidence >= RULE.log_needed:
                return day
        return None

    return watch


def golden(rng: np.random.Generator, loss: float) -> int | None:
    """Prompts that an arm passes or fails, but for flips; those that it passes, it fails more and more often."""
    test, lost, passed = GoldenTest(), losses(loss) / PASSES, rng.random(PROMPTS) < PASSES
    for day in range(DAYS):
        chance = np.where(passed, np.maximum(1.0 - FLIPS - lost[day], 0.0), FLIPS)
        scores = rng.random(PROMPTS) < chance
        test.add_day(day, {str(i): float(score) for i, score in enumerate(scores)}, RULE.worse_by)
        if test.detector.log_evidence >= RULE.log_needed:
            return day
    return None


def day_means(rng: np.random.Generator, judged: int, loss: float) -> np.ndarray:
    """Mean of each day's judged answers, float64 (DAYS,)."""
    chance = np.clip(PASSES + mix(rng) - losses(loss), 0.0, 1.0)
    found: np.ndarray = rng.binomial(judged, chance) / judged
    return found


def level(judged: int) -> Watcher:
    """The level of the days' means."""

    def watch(rng: np.random.Generator, loss: float) -> int | None:
        found = level_of(day_means(rng, judged, loss).tolist())
        return None if found is None else found.alarm

    return watch


def window(judged: int) -> Watcher:
    """A day that is three deviations (of the first two weeks' days) below the week before it."""

    def watch(rng: np.random.Generator, loss: float) -> int | None:
        days = day_means(rng, judged, loss)
        least = WINDOW_DEVIATIONS * float(days[:BASELINE_DAYS].std(ddof=1))
        for day in range(BASELINE_DAYS, DAYS):
            if days[day] < days[day - WINDOW_DAYS : day].mean() - least:
                return day
        return None

    return watch


def drift_cases(runs: int) -> list[tuple[str, int, Watcher, int]]:
    """(name, judged answers a day, watcher, runs). What must hold is run most often."""
    few, fewest = max(runs // 4, 1), max(runs // 50, 1)
    found = [("golden set, 50 prompts", PROMPTS, golden, runs)]
    for judged in JUDGED_A_DAY:
        found += [
            ("anchor", judged, anchor(judged), runs if judged == 500 else few),
            ("level, CUSUM of days", judged, level(judged), few),
            ("a day 3 sd below the week before", judged, window(judged), few),
        ]
    found.append(("anchor, differs on 30 %", 500, anchor(500, 0.3), few))
    found.append(("anchor, unit by unit", 500, anchor_by_units(500), fewest))
    return found


def drift_found(name: str, judged: int, watch: Watcher, runs: int, progress: Progress) -> DriftFound:
    """Both worlds, so many times each. A loss that is found before it begins is a false alarm, and counts as late."""
    days, quiet = [], 0
    for seed in range(runs):
        alarm = watch(np.random.default_rng((16, judged, seed)), LOSS_A_DAY)
        days.append(math.inf if alarm is None or alarm < BASELINE_DAYS else alarm - BASELINE_DAYS)
        quiet += watch(np.random.default_rng((61, judged, seed)), 0.0) is not None
        progress(1)
    median = sorted(days)[runs // 2]
    found = sum(math.isfinite(day) for day in days) / runs
    return DriftFound(name, judged, runs, int(median) if math.isfinite(median) else None, found, quiet / runs)
