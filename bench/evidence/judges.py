"""Judges that make known mistakes, and people who label a few of the answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from banditd.ope.favour import FavourTest, LabelledScore
from banditd.ope.prediction_powered import powered_mean

SENSITIVITY: Final = 0.9
SPECIFICITY: Final = 0.8
JUDGED: Final = 2000
LABELS: Final = 600
Z: Final = 1.959963984540054
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Coverage:
    """How often 95 % intervals hold the truth, and how wide they are on the mean."""

    case: str
    labels: int
    runs: int
    powered: float
    powered_half_width: float
    people: float
    people_half_width: float
    judge_alone: float


@dataclass(frozen=True, slots=True)
class CoverageCase:
    """quality : share of good answers. labels : expected. uneven : people see bad answers four times as often, and
    the judge one half of the answers four times as often as the other, both with known probabilities.
    """

    name: str
    quality: float
    sensitivity: float = SENSITIVITY
    specificity: float = SPECIFICITY
    labels: int = 200
    uneven: bool = False


COVERAGE_CASES: Final = (
    CoverageCase("people and judge at random", 0.85),
    CoverageCase("half of the answers good, judge .9/.9", 0.5, specificity=0.9),
    CoverageCase("a judge that knows nothing", 0.85, sensitivity=0.6, specificity=0.4),
    CoverageCase("unequal probabilities", 0.85, uneven=True),
    CoverageCase("50 labels", 0.85, labels=50),
)


def coverage(case: CoverageCase, runs: int, progress: Progress) -> Coverage:
    """Draw answers, judge and label them, and look whether the intervals hold ``case.quality``."""
    held = np.zeros(3)
    widths = np.zeros(2)
    for seed in range(runs):
        rng = np.random.default_rng((16, seed))
        good, scores, judge_probability, label_probability = _sample(case, rng)
        labelled = rng.random(len(good)) < label_probability
        labels = np.where(labelled, good, np.nan)
        found = powered_mean(scores, labels, judge_probability=judge_probability, label_probability=label_probability)
        people = powered_mean(
            np.zeros_like(scores), labels, judge_probability=judge_probability, label_probability=label_probability
        )
        weight = (1.0 / judge_probability) / (1.0 / judge_probability).sum()
        judged = float(weight @ scores)
        half = Z * float(np.sqrt(np.square(weight * (scores - judged)).sum()))
        assert found is not None and people is not None  # noqa: PT018 - there are labels enough
        held += [
            found.low <= case.quality <= found.high,
            people.low <= case.quality <= people.high,
            abs(judged - case.quality) <= half,
        ]
        widths += [found.half_width, people.half_width]
        progress(1)
    powered, people_alone, judge_alone = held / runs
    wide, people_wide = widths / runs
    return Coverage(
        case.name, case.labels, runs, float(powered), float(wide), float(people_alone), float(people_wide),
        float(judge_alone),
    )  # fmt: skip


def _sample(case: CoverageCase, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(good, score, probability with which it was judged, and with which it is labelled) of the judged answers."""
    n = JUDGED if not case.uneven else round(JUDGED / 0.625)
    good = (rng.random(n) < case.quality).astype(float)
    passes = np.where(good > 0.5, case.sensitivity, 1.0 - case.specificity)
    scores = (rng.random(n) < passes).astype(float)
    if not case.uneven:
        return good, scores, np.full(n, 0.05), np.full(n, case.labels / n)
    often = rng.random(n) < 0.5  # as a hash coin with two shares would
    probability = np.where(often, 1.0, 0.25)
    judged = rng.random(n) < probability
    good, scores, probability = good[judged], scores[judged], probability[judged]
    base = case.labels / (len(good) * (1.0 + 3.0 * (1.0 - scores.mean())))
    return good, scores, probability, np.minimum(np.where(scores > 0.5, base, 4.0 * base), 1.0)


@dataclass(frozen=True, slots=True)
class Refusals:
    """How often a judge is refused within ``labels`` labels, after how many at the median, and for whom."""

    case: str
    labels: int
    runs: int
    refused: float
    median_labels: int | None
    right_arm: float | None


@dataclass(frozen=True, slots=True)
class FavourCase:
    """quality : share of good answers by arm. favour : added to the chance that the judge passes an answer, by arm.
    mistaken : share of people's labels that are wrong.
    """

    name: str
    quality: tuple[float, ...]
    favour: tuple[float, ...]
    labels: int = LABELS
    mistaken: float = 0.0


FAVOUR_CASES: Final = (
    FavourCase("favours one of two arms by .10", (0.85, 0.85), (0.10, 0.0)),
    FavourCase("honest, two equal arms", (0.85, 0.85), (0.0, 0.0)),
    FavourCase("honest, unequal arms", (0.85, 0.60), (0.0, 0.0)),
    FavourCase("honest, unequal arms, people err in 5 %", (0.85, 0.60), (0.0, 0.0), mistaken=0.05),
    FavourCase("honest, four unequal arms, 2,000 labels", (0.9, 0.8, 0.7, 0.6), (0.0,) * 4, labels=2000),
    FavourCase("favours one of four arms by .10", (0.85,) * 4, (0.10, 0.0, 0.0, 0.0)),
    FavourCase("favours the worse of two arms by .10", (0.60, 0.85), (0.10, 0.0)),
    FavourCase("favours the better of two arms by .10", (0.85, 0.60), (0.10, 0.0)),
    FavourCase("stricter with one of two arms by .10", (0.85, 0.85), (-0.10, 0.0)),
)


def refusals(case: FavourCase, runs: int, progress: Progress) -> Refusals:
    """Label answers one by one, and look after each."""
    after: list[int] = []
    right = 0
    for seed in range(runs):
        rng = np.random.default_rng((61, seed))
        arms = rng.integers(len(case.quality), size=case.labels)
        good = rng.random(case.labels) < np.array(case.quality)[arms]
        passes = np.where(good, SENSITIVITY, 1.0 - SPECIFICITY) + np.array(case.favour)[arms]
        scores = rng.random(case.labels) < np.clip(passes, 0.0, 1.0)
        labels = good ^ (rng.random(case.labels) < case.mistaken)
        test = FavourTest()
        for arm, score, label in zip(arms, scores, labels, strict=True):
            test.add(LabelledScore(str(arm), float(score), float(label)))
            if test.found is not None:
                favoured = str(int(np.argmax(case.favour)))
                right += test.found.direction == "for" and test.found.arm == favoured
                after.append(test.labels)
                break
        progress(1)
    biased = any(case.favour)
    return Refusals(
        case=case.name,
        labels=case.labels,
        runs=runs,
        refused=len(after) / runs,
        median_labels=int(np.median(after)) if after and biased else None,
        right_arm=right / len(after) if after and biased else None,
    )
