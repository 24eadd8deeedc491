"""What is tolerated of a slow loss of quality, as a plain value."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftRule:
    """anchor_share : of the traffic that the anchor decides, in [0, 1); 0: there is none. worse_by : how much lower
    the mean reward may become, in (0, 1). days_per_false_alarm : of each test, on the average at least, > 1.
    """

    anchor_share: float = 0.0
    worse_by: float = 0.01
    days_per_false_alarm: float = 1000.0

    @property
    def log_needed(self) -> float:
        """Logarithm of the evidence that is an alarm."""
        return math.log(self.days_per_false_alarm)
