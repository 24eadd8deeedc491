"""The rule of windows, an optional addition: two bad windows of 15 minutes in a row roll a candidate back. Pure.

A window is bad if the candidate's mean is lower than the incumbent's by more than ``TIMES`` the noise, which is 1.96
standard errors of a mean of as many answers as the candidate had, with the variance of both. Windows with fewer than
``LEAST`` answers on either side do not count. The rule is fast and sometimes wrong; ``false_alarms_per_month`` says
how often.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

WINDOW_US: Final = 900_000_000
TIMES: Final = 1.5
LEAST: Final = 30
IN_A_ROW: Final = 2
NOISE: Final = 1.96  # standard errors
MONTH_US: Final = 30 * 86_400_000_000


@dataclass(slots=True)
class Windows:
    """The state of the rule.

    since_us : start of the present window.
    candidate, incumbent : number, sum and sum of squares of its answers.
    failed : bad windows in a row. judged : windows that counted.
    """

    since_us: int = 0
    candidate: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    incumbent: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    failed: int = 0
    judged: int = 0

    def add(self, value: float, *, candidate: bool, at_us: int) -> None:
        """Add a rated unit; if it belongs to a later window, the present one is closed first."""
        if at_us >= self.since_us + WINDOW_US:
            self._close()
            self.since_us = at_us - at_us % WINDOW_US
            self.candidate, self.incumbent = [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]
        sums = self.candidate if candidate else self.incumbent
        for i, term in enumerate((1.0, value, value * value)):
            sums[i] += term

    def _close(self) -> None:
        (n, total, power), (of, other, other_power) = self.candidate, self.incumbent
        if min(n, of) < LEAST:
            return
        self.judged += 1
        mean = (total + other) / (n + of)
        noise = NOISE * math.sqrt(max((power + other_power) / (n + of) - mean * mean, 0.0) / n)
        self.failed = self.failed + 1 if total / n < other / of - TIMES * noise else 0

    def as_json(self) -> dict[str, Any]:
        """JSON-compatible values."""
        return {
            "since_us": self.since_us, "candidate": self.candidate, "incumbent": self.incumbent,
            "failed": self.failed, "judged": self.judged,
        }  # fmt: skip

    @classmethod
    def of_json(cls, kept: Mapping[str, Any]) -> Windows:
        """Inverse of ``as_json``. Raises TypeError for anything else."""
        return cls(**kept)


def false_alarms_per_month(share: float) -> float:
    """Expected number if the candidate is equal and every window has enough answers.

    share : candidate's traffic, in [0, 1).
    """
    if share >= 1.0:
        return 0.0
    # Both means vary, but the noise only accounts for the candidate's.
    deviations = TIMES * NOISE / math.sqrt(1.0 + share / (1.0 - share))
    fails = 0.5 * math.erfc(deviations / math.sqrt(2.0))
    return MONTH_US / WINDOW_US * fails**IN_A_ROW
