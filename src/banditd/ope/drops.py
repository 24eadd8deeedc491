"""Has a mean fallen, and since when? For monitoring over years, with false alarms counted in days. Pure.

An e-detector of Shiryaev-Roberts form (Shin, Ramdas, Rinaldo 2022, arXiv:2203.03532). Every day with comparisons
starts one more bet that the mean has fallen by more than is tolerated from that day on, and

    R = (R + 1) prod over the day's comparisons of (1 - bet (D + delta) / (1 + delta)),

averaged over the bets of ``ope/betting.py``. While no comparison D has a mean below -delta, R minus the number of
days does not grow in expectation. So the mean time to an alarm at R >= N is at least N days, whatever the scores are
and however often one looks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from banditd.core.types import FloatArray
from banditd.ope.betting import BETS, DropTest, growth, log_evidence

MEMORY: Final = 500.0
"""Units over which the share on which two sides differ is averaged."""
LEAST_DIFFERENCE: Final = 1e-3
BASELINE_DAYS: Final = 14
"""Number of a prompt's first scores with which later ones are compared."""
BASELINE_ERRORS: Final = 0.5
"""Standard errors of the baseline that are tolerated, in addition to what the operator tolerates."""
FLIP: Final = 0.5
RECENT_DAYS: Final = 7
FORGOTTEN_DAYS: Final = 30
"""A prompt that has not been used for this long loses its baseline."""


def _none() -> list[float]:
    return [0.0] * len(BETS)


@dataclass(slots=True)
class DropDetector:
    """The detector's state.

    stakes : logarithm of R, by bet.
    rises, since : by bet, logarithm of the best run of comparisons that ends now, and the day it began.
    day : of the newest comparison, days since 1970; None before any.
    days : number of days with comparisons.
    """

    stakes: list[float] = field(default_factory=_none)
    rises: list[float] = field(default_factory=_none)
    since: list[int] = field(default_factory=lambda: [0] * len(BETS))
    day: int | None = None
    days: int = 0

    def take(self, day: int, difference: FloatArray, worse_by: float) -> None:
        """Add the comparisons of one day: new minus old, float64 (n,), in [-1, 1]. worse_by : tolerated, >= 0."""
        if not difference.size:
            return
        stakes, rises = np.array(self.stakes), np.array(self.rises)
        if self.day is None or day > self.day:
            if self.day is not None:
                stakes = np.logaddexp(stakes, 0.0)
            self.day, self.days = day, self.days + 1
        self.since = [began if rise > 0.0 else self.day for began, rise in zip(self.since, rises, strict=True)]
        gained = growth(difference, worse_by).sum(0)
        self.stakes = (stakes + gained).tolist()
        self.rises = (np.maximum(rises, 0.0) + gained).tolist()

    @property
    def log_evidence(self) -> float:
        """Logarithm of R; below 0 if there is no sign of a fall."""
        return float(log_evidence(np.array(self.stakes)))

    @property
    def since_day(self) -> int | None:
        """The most likely day of the fall; None if there is no sign of one."""
        best = int(np.argmax(self.rises))
        return self.since[best] if self.rises[best] > 0.0 else None

    def as_json(self) -> dict[str, Any]:
        """What is kept of it."""
        return {
            "stakes": self.stakes, "rises": self.rises, "since": self.since, "day": self.day, "days": self.days,
        }  # fmt: skip

    @classmethod
    def of_json(cls, kept: Mapping[str, Any]) -> DropDetector:
        """The detector again. Raises KeyError, TypeError, ValueError for what was never kept."""
        found = cls(
            [float(one) for one in kept["stakes"]], [float(one) for one in kept["rises"]],
            [int(one) for one in kept["since"]], kept["day"], int(kept["days"]),
        )  # fmt: skip
        if not len(found.stakes) == len(found.rises) == len(found.since) == len(BETS):
            raise ValueError(f"a stake for each of {len(BETS)} bets, got {len(found.stakes)}")
        return found


@dataclass(slots=True)
class AnchorTest(DropTest):
    """Compares live traffic (as the candidate of ``DropTest``) with the anchor, since the anchor was taken.

    differs : share of the traffic on which the two draw differently, over the newest units; None before any.
    today : of the newest unit, days since 1970.
    """

    detector: DropDetector = field(default_factory=DropDetector)
    differs: float | None = None
    today: int = 0

    def count(self, value: float, *, live: bool, differ: bool, share: float, day: int, worse_by: float) -> None:
        """Add one rated unit. Only units on which the two drew differently are compared.

        value : in [0, 1], more is better. live : whether it is on the live side. differ : whether they drew
        differently.
        share : share of the traffic that the anchor decides, in (0, 1). worse_by : tolerated over all traffic, > 0.
        """
        before = float(differ) if self.differs is None else self.differs
        self.differs = before + (float(differ) - before) / MEMORY
        self.today = day
        if differ:
            tolerated = worse_by / max(before, LEAST_DIFFERENCE)
            self.add(value, candidate=live, share=1.0 - share, worse_by=tolerated)

    def compare(self, difference: float, worse_by: float) -> None:
        DropTest.compare(self, difference, worse_by)
        self.detector.take(self.today, np.array([difference]), worse_by)

    def as_json(self) -> dict[str, Any]:
        """What is kept of it."""
        return DropTest.as_json(self) | {
            "detector": self.detector.as_json(), "differs": self.differs, "today": self.today,
        }  # fmt: skip

    @classmethod
    def of_json(cls, kept: Mapping[str, Any]) -> AnchorTest:
        """The test again. Raises KeyError, TypeError, ValueError for what was never kept."""
        plain = DropTest.of_json(kept)
        return cls(
            plain.stakes, plain.comparisons, plain.total, plain.power, plain.candidate, plain.incumbent, plain.units,
            detector=DropDetector.of_json(kept["detector"]), differs=kept["differs"], today=int(kept["today"]),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class GoldenDay:
    """One day's scores of the prompts that have a baseline.

    prompts : their number. mean, baseline : mean score on that day and in the baseline.
    flips : share of them whose score differs by more than a half from its baseline.
    """

    day: int
    prompts: int
    mean: float
    baseline: float
    flips: float


@dataclass(slots=True)
class GoldenTest:
    """One arm's scores on the same prompts, day by day.

    A prompt's first ``BASELINE_DAYS`` scores are its baseline; each later score is compared with their mean. The
    uncertainty of the baseline (``BASELINE_ERRORS`` of its standard error, over the day's prompts) is tolerated as
    well.

    baseline : by prompt (number of scores, their sum, sum of squares, last day). recent : the last days, oldest
    first.
    """

    detector: DropDetector = field(default_factory=DropDetector)
    baseline: dict[str, tuple[int, float, float, int]] = field(default_factory=dict)
    recent: list[GoldenDay] = field(default_factory=list)

    def add_day(self, day: int, scores: Mapping[str, float], worse_by: float) -> None:
        """Add the scores of one day, by prompt, in [0, 1]. worse_by : tolerated, > 0."""
        old, new, error = [], [], 0.0
        for prompt in sorted(scores):
            score = scores[prompt]
            count, total, square, _ = self.baseline.get(prompt, (0, 0.0, 0.0, day))
            if count < BASELINE_DAYS:
                self.baseline[prompt] = count + 1, total + score, square + score * score, day
                continue
            self.baseline[prompt] = count, total, square, day
            old.append(total / count)
            new.append(score)
            error += max(square - total * total / count, 0.0) / ((count - 1) * count)
        if old:
            difference = np.array(new) - np.array(old)
            margin = BASELINE_ERRORS * math.sqrt(error) / len(old)
            self.detector.take(day, difference, worse_by + margin)
            flips = float((np.abs(difference) > FLIP).mean())
            shown = GoldenDay(day, len(old), float(np.mean(new)), float(np.mean(old)), flips)
            self.recent = [*self.recent, shown][-RECENT_DAYS:]
        for prompt in [one for one, (*_, last) in self.baseline.items() if last < day - FORGOTTEN_DAYS]:
            del self.baseline[prompt]

    @property
    def waits(self) -> int:
        """Days until the first prompt has its baseline; 0 once one has."""
        return BASELINE_DAYS - max((count for count, *_ in self.baseline.values()), default=0)

    def as_json(self) -> dict[str, Any]:
        """What is kept of it."""
        return {
            "detector": self.detector.as_json(), "baseline": {name: list(one) for name, one in self.baseline.items()},
            "recent": [[one.day, one.prompts, one.mean, one.baseline, one.flips] for one in self.recent],
        }  # fmt: skip

    @classmethod
    def of_json(cls, kept: Mapping[str, Any]) -> GoldenTest:
        """The test again. Raises KeyError, TypeError, ValueError for what was never kept."""
        baseline = {
            str(name): (int(n), float(a), float(b), int(day)) for name, (n, a, b, day) in kept["baseline"].items()
        }
        return cls(DropDetector.of_json(kept["detector"]), baseline, [GoldenDay(*one) for one in kept["recent"]])
