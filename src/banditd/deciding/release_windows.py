"""The rule of windows, for those who know it: two bad quarters of an hour in a row take a candidate back. Pure.

A window fails where the candidate's mean is lower than the incumbent's by more than ``TIMES`` the noise: 1.96
standard errors of a mean of as many answers as the candidate has had, by the variance of both. Windows of fewer than
``LEAST`` answers of either side say nothing. It is fast, and wrong now and then: ``false_alarms_per_month`` says how
often.
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
    """since_us : of the present window. candidate, incumbent : its answers, sums of their values and squares.

    failed : windows in a row. judged : windows that said something.
    """

    since_us: int = 0
    candidate: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    incumbent: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    failed: int = 0
    judged: int = 0

    def add(self, value: float, *, candidate: bool, at_us: int) -> None:
        """Add a rated unit; what is of a later window closes the present one."""
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
        """What is kept."""
        return {
            "since_us": self.since_us, "candidate": self.candidate, "incumbent": self.incumbent,
            "failed": self.failed, "judged": self.judged,
        }  # fmt: skip

    @classmethod
    def of_json(cls, kept: Mapping[str, Any]) -> Windows:
        """Raises TypeError for what was never kept."""
        return cls(**kept)


def false_alarms_per_month(share: float) -> float:
    """With an equal candidate and enough answers in every window. share : of the traffic that is its, in [0, 1)."""
    if share >= 1.0:
        return 0.0
    # Both means vary; the noise is the candidate's alone.
    deviations = TIMES * NOISE / math.sqrt(1.0 + share / (1.0 - share))
    fails = 0.5 * math.erfc(deviations / math.sqrt(2.0))
    return MONTH_US / WINDOW_US * fails**IN_A_ROW
