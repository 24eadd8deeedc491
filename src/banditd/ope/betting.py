"""Whether a release's candidate is worse than the incumbent by more than is tolerated, valid at every look. Pure.

Values in [0, 1] of units on both sides come one by one, and wait. When there are enough of both (one of the rarer
side, several of the other), their means X (candidate) and Y (incumbent) are compared, and

    D = X - Y + delta

has a non-negative mean while the candidate is worse by at most delta, whatever the traffic does to both. So the
stakes ``prod (1 - bet D / (1 + delta))`` do not grow in expectation, and their mean over the bets reaches ``1 /
alpha`` with probability at most alpha, however often one looks (Ville; Waudby-Smith, Ramdas 2024). Which units are
compared depends on the sides alone, and waiting units are recent: what happens to both does not count as a
difference.

Only units on which the two would have drawn different arms need to be compared (``deciding/rollout.py: mixed``); on
the others the difference is 0. On those the candidate may be worse by delta / d, where the two differ on a share d of
the traffic.
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
"""Number of comparisons at which the interval is narrowest."""
LEAST_VARIANCE: Final = 0.01  # prior variance of a difference
MOST_COMPARED: Final = 16  # most units of one side in a comparison; more would hardly make its mean more precise
TAKEN: Final = 0.75  # share of the more frequent side's units that are compared, so that the rarer side hardly waits
WAITING: Final = 4  # units for this many comparisons may wait, ...
LEAST_WAITING: Final = 16  # ... or at least this many units; older ones are dropped

_BETS: Final = np.array(BETS)


def growth(difference: FloatArray, worse_by: float) -> FloatArray:
    """Logarithm of each comparison's effect on the stake of each bet, float64 (n, n_bets).

    difference : candidate minus incumbent, float64 (n,), in [-1, 1]. worse_by : tolerated difference, >= 0.
    """
    share = (difference[:, None] + worse_by) / (1.0 + worse_by)
    found: FloatArray = np.log1p(-_BETS * share)
    return found


def log_evidence(stakes: FloatArray) -> FloatArray:
    """Logarithm of the mean stake over the bets, shape (...,). stakes : logarithms, (..., n_bets)."""
    largest = stakes.max(-1)
    found: FloatArray = largest + np.log(np.exp(stakes - largest[..., None]).mean(-1))
    return found


def evidence_of(logarithm: float) -> float:
    """The evidence with that logarithm, limited to numbers that JSON can represent."""
    return math.exp(min(logarithm, 700.0))


def compared(share: float) -> tuple[int, int]:
    """How many units of (candidate, incumbent) one comparison takes. share : the candidate's share of units."""
    return _taken(share / (1.0 - share)), _taken((1.0 - share) / share)


def _taken(odds: float) -> int:
    return max(1, min(MOST_COMPARED, int(TAKEN * odds)))


@dataclass(slots=True)
class DropTest:
    """The test of one measure of one release.

    stakes : logarithms, by bet.
    comparisons, total, power : their number, and sums of the differences and their squares.
    candidate, incumbent : values waiting to be compared, oldest first.
    units : of both sides so far.
    """

    stakes: list[float] = field(default_factory=lambda: [0.0] * len(BETS))
    comparisons: int = 0
    total: float = 0.0
    power: float = 0.0
    candidate: list[float] = field(default_factory=list)
    incumbent: list[float] = field(default_factory=list)
    units: tuple[int, int] = (0, 0)

    def add(self, value: float, *, candidate: bool, share: float, worse_by: float) -> None:
        """Add one unit.

        value : in [0, 1], more is better. share : the candidate's share of units, in (0, 1).
        worse_by : tolerated difference among the units that are compared.
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
        """Add one comparison: candidate minus incumbent, in [-1, 1]."""
        self.stakes = (np.array(self.stakes) + growth(np.array([difference]), worse_by)[0]).tolist()
        self.comparisons += 1
        self.total += difference
        self.power += difference * difference

    @property
    def log_evidence(self) -> float:
        """Logarithm of the evidence that the candidate is worse than tolerated; 0 before the first comparison."""
        return float(log_evidence(np.array(self.stakes)))

    def interval(self, alpha: float = 0.05) -> tuple[float, float] | None:
        """Interval of the mean difference with coverage ``1 - alpha`` over all looks together; None before the first.

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
        """JSON-compatible values."""
        return {
            "stakes": self.stakes,
            "sums": [self.comparisons, self.total, self.power],
            "waiting": [self.candidate, self.incumbent],
            "units": list(self.units),
        }

    @classmethod
    def of_json(cls, kept: Mapping[str, Any]) -> DropTest:
        """Inverse of ``as_json``. Raises KeyError, TypeError or ValueError for anything else."""
        comparisons, total, power = kept["sums"]
        candidate, incumbent = kept["waiting"]
        tested, against = kept["units"]
        stakes = [float(stake) for stake in kept["stakes"]]
        if len(stakes) != len(BETS):
            raise ValueError(f"a stake for each of {len(BETS)} bets, got {len(stakes)}")
        return cls(stakes, comparisons, total, power, list(candidate), list(incumbent), (tested, against))
