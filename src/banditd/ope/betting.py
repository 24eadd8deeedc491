"""Whether the candidate of a release is worse than the incumbent by more than is tolerated, at every look. Pure.

Values in [0, 1] of units on both sides come one by one, and wait. Where there are enough of both (one of the
rarer side, some of the other), their means X (candidate) and Y (incumbent) are compared, and

    D = X - Y + delta

has no negative mean while the candidate is worse by delta at most, whatever the traffic does to both. So the stakes
``prod (1 - bet D / (1 + delta))`` do not grow in the mean, and their mean over the bets reaches ``1 / alpha`` with a
chance of alpha at most, however often one looks (Ville; Waudby-Smith, Ramdas 2024). Who is compared with whom follows
from the sides alone, and none that wait are old: what happens to both does not count as a difference.

Only units on which the two would have taken different arms need to be compared (``deciding/rollout.py: mixed``): on
the others the difference is nothing. Of those the candidate may then be worse by delta / d, where the two differ on a
share d of the traffic.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from banditd.core.types import FloatArray

BETS: Final = (0.05, 0.1, 0.2, 0.35, 0.5, 0.7)
TYPICAL_COMPARISONS: Final = 1000.0
"""At which the interval is narrowest for what it promises."""
LEAST_VARIANCE: Final = 0.01  # of a difference, before there are any
MOST_COMPARED: Final = 16  # of one side at once: more would hardly make its mean surer
TAKEN: Final = 0.75  # of the more frequent side, for one of the other: the rarer side hardly waits
WAITING: Final = 4  # comparisons' worth of units that wait, ...
LEAST_WAITING: Final = 16  # ... or so many units; older ones are dropped

_BETS: Final = np.array(BETS)


def growth(difference: FloatArray, worse_by: float) -> FloatArray:
    """Logarithms of what each comparison does to the stake of each bet, float64 (n, n_bets).

    difference : candidate less incumbent, float64 (n,), in [-1, 1]. worse_by : that is tolerated, >= 0.
    """
    share = (difference[:, None] + worse_by) / (1.0 + worse_by)
    found: FloatArray = np.log1p(-_BETS * share)
    return found


def log_evidence(stakes: FloatArray) -> FloatArray:
    """Logarithm of the mean over the bets, shape (...,). stakes : logarithms, (..., n_bets)."""
    largest = stakes.max(-1)
    found: FloatArray = largest + np.log(np.exp(stakes - largest[..., None]).mean(-1))
    return found


def evidence_of(logarithm: float) -> float:
    """Evidence of that logarithm, as a number that JSON has."""
    return math.exp(min(logarithm, 700.0))


def compared(share: float) -> tuple[int, int]:
    """How many units of (candidate, incumbent) one comparison takes. share : of units that are the candidate's."""
    return _taken(share / (1.0 - share)), _taken((1.0 - share) / share)


def _taken(odds: float) -> int:
    return max(1, min(MOST_COMPARED, int(TAKEN * odds)))


@dataclass(slots=True)
class DropTest:
    """One measure of one release.

    stakes : logarithms, by bet. comparisons, total, power : how many, and sums of the differences and their squares.
    candidate, incumbent : values that wait to be compared, oldest first. units : of both sides so far.
    """

    stakes: list[float] = field(default_factory=lambda: [0.0] * len(BETS))
    comparisons: int = 0
    total: float = 0.0
    power: float = 0.0
    candidate: list[float] = field(default_factory=list)
    incumbent: list[float] = field(default_factory=list)
    units: tuple[int, int] = (0, 0)

    def add(self, value: float, *, candidate: bool, share: float, worse_by: float) -> None:
        """One unit.

        value : in [0, 1], more is better. share : of units that are the candidate's, in (0, 1). worse_by : tolerated
        among the units that are compared.
        """
        tested, against = self.units
        self.units = (tested + candidate, against + (not candidate))
        takes = compared(share)
        (self.candidate if candidate else self.incumbent).append(value)
        for waiting, n in zip((self.candidate, self.incumbent), takes, strict=True):
            del waiting[: -max(WAITING * n, LEAST_WAITING)]
        while len(self.candidate) >= takes[0] and len(self.incumbent) >= takes[1]:
            own, other = self.candidate[: takes[0]], self.incumbent[: takes[1]]
            del self.candidate[: takes[0]], self.incumbent[: takes[1]]
            self.compare(sum(own) / len(own) - sum(other) / len(other), worse_by)

    def compare(self, difference: float, worse_by: float) -> None:
        """One comparison: candidate less incumbent, in [-1, 1]."""
        self.stakes = (np.array(self.stakes) + growth(np.array([difference]), worse_by)[0]).tolist()
        self.comparisons += 1
        self.total += difference
        self.power += difference * difference

    @property
    def log_evidence(self) -> float:
        """Logarithm of the evidence that the candidate is worse than tolerated; 0 before the first comparison."""
        return float(log_evidence(np.array(self.stakes)))

    def interval(self, alpha: float = 0.05) -> tuple[float, float] | None:
        """The mean difference with a chance of ``1 - alpha``, over all looks together; None before the first one.

        Source: Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas 2024, asymptotic confidence sequences.
        """
        n = self.comparisons
        if not n:
            return None
        mean = self.total / n
        variance = max((self.power + LEAST_VARIANCE) / n - mean * mean, LEAST_VARIANCE / n)
        tail = -2.0 * math.log(alpha)
        narrow = (tail + math.log(tail) + 1.0) / TYPICAL_COMPARISONS
        spread = n * narrow + 1.0
        half = math.sqrt(variance * 2.0 * spread / (n * n * narrow) * math.log(math.sqrt(spread) / alpha))
        return max(mean - half, -1.0), min(mean + half, 1.0)

    def as_json(self) -> dict[str, Any]:
        """What is kept of it."""
        return {
            "stakes": self.stakes,
            "sums": [self.comparisons, self.total, self.power],
            "waiting": [self.candidate, self.incumbent],
            "units": list(self.units),
        }

    @classmethod
    def of_json(cls, kept: Mapping[str, Any]) -> DropTest:
        """The test again. Raises KeyError, TypeError, ValueError for what was never kept."""
        comparisons, total, power = kept["sums"]
        candidate, incumbent = kept["waiting"]
        tested, against = kept["units"]
        stakes = [float(stake) for stake in kept["stakes"]]
        if len(stakes) != len(BETS):
            raise ValueError(f"a stake for each of {len(BETS)} bets, got {len(stakes)}")
        return cls(stakes, comparisons, total, power, list(candidate), list(incumbent), (tested, against))
