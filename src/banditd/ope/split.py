"""Whether the counted units are split between two sides as the share says, valid at every look. Pure.

A side is given by a hash, so only chance affects the counts. If they differ, one side's units are lost on the way or
rated less often, and the comparison is no longer fair. The test bets that the odds of a unit being the candidate's
are some multiple of what they should be; its stakes reach ``1 / alpha`` with probability at most alpha (Ville;
Lindon, Malek 2022).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

ODDS: Final = (0.25, 0.5, 0.67, 0.8, 0.9, 1.1, 1.25, 1.5, 2.0, 4.0)
"""The multiples of the expected odds that are bet on."""


@dataclass(slots=True)
class SplitTest:
    """stakes : logarithms, by odds. candidate, expected : observed and expected number of the candidate's units.

    units : of both sides.
    """

    stakes: list[float] = field(default_factory=lambda: [0.0] * len(ODDS))
    candidate: int = 0
    expected: float = 0.0
    units: int = 0

    def add(self, *, candidate: bool, share: float) -> None:
        """Add one unit. share : the candidate's share of units when it was decided; 0 and 1 say nothing."""
        if not 0.0 < share < 1.0:
            return
        self.candidate += candidate
        self.expected += share
        self.units += 1
        for i, odds in enumerate(ODDS):
            total = share * odds + 1.0 - share
            self.stakes[i] += math.log((odds if candidate else 1.0) / total)

    @property
    def log_evidence(self) -> float:
        """Logarithm of the evidence that the split is not what it should be."""
        largest = max(self.stakes)
        return largest + math.log(sum(math.exp(stake - largest) for stake in self.stakes) / len(self.stakes))

    def as_json(self) -> dict[str, Any]:
        """What is kept of it."""
        return {"stakes": self.stakes, "counts": [self.candidate, self.expected, self.units]}

    @classmethod
    def of_json(cls, kept: Mapping[str, Any]) -> SplitTest:
        """The test again. Raises KeyError, TypeError, ValueError for what was never kept."""
        candidate, expected, units = kept["counts"]
        stakes = [float(stake) for stake in kept["stakes"]]
        if len(stakes) != len(ODDS):
            raise ValueError(f"a stake for each of {len(ODDS)} odds, got {len(stakes)}")
        return cls(stakes, candidate, expected, units)
