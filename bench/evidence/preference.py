"""Comparisons of two answers, one of which is preferred with a known probability, until the sequential test knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from banditd.ope.preference import HIGH, LOW, preference_in
from bench.evidence.judges import Progress

PREFERRED: Final = (0.05, LOW, 0.15, HIGH, 0.30)
MOST: Final = 2000
"""Comparisons of one run; the test has known long before."""


@dataclass(frozen=True, slots=True)
class Comparisons:
    """often : share of the runs that ended there. median, ninety : comparisons that it took, and that 90 % took."""

    preferred: float
    runs: int
    often: float
    median: int
    ninety: int


def comparisons(preferred: float, runs: int, progress: Progress) -> Comparisons:
    """Draw comparisons and look after each."""
    generator = np.random.default_rng([17, round(1000 * preferred)])
    often, took = 0, []
    for _ in range(runs):
        test = preference_in((generator.random(MOST) < preferred).tolist())
        often += test.side == "often"
        took.append(test.after or MOST)
        progress(1)
    return Comparisons(preferred, runs, often / runs, int(np.median(took)), int(np.quantile(took, 0.9)))
