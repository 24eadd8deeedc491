"""Has the daily level of the rewards fallen? It cannot say why: other queries lower it as well. Pure.

A CUSUM of daily mean rewards, in units of how much days differ from each other rather than of their sampling error,
because traffic has good and bad days. The first days are its baseline. Source: Page 1954.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

BASELINE_DAYS: Final = 14
ALLOWANCE: Final = 1.5
"""Tolerated deviation, in standard deviations of a day; a baseline of two weeks is no more certain than this."""
LIMIT: Final = 12.0
LEAST_DEVIATION: Final = 1e-3


@dataclass(frozen=True, slots=True)
class Level:
    """mean, deviation : of the baseline's days. sum : the CUSUM, which alarms at ``LIMIT``.

    since : index of the day since when the level has been lower, or None. alarm : index of the first alarm's day.
    """

    mean: float
    deviation: float
    sum: float
    since: int | None
    alarm: int | None


def level_of(days: Sequence[float]) -> Level | None:
    """The level of mean rewards, oldest day first; None if there is only a baseline."""
    if len(days) <= BASELINE_DAYS:
        return None
    first = days[:BASELINE_DAYS]
    mean = sum(first) / BASELINE_DAYS
    variance = sum((day - mean) ** 2 for day in first) / (BASELINE_DAYS - 1)
    deviation = max(math.sqrt(variance), LEAST_DEVIATION)
    found, since, alarm = 0.0, None, None
    for i, day in enumerate(days[BASELINE_DAYS:], BASELINE_DAYS):
        found = max(found + (mean - day) / deviation - ALLOWANCE, 0.0)
        if found == 0.0:
            since = None
        elif since is None:
            since = i
        if found >= LIMIT and alarm is None:
            alarm = i
    return Level(mean, deviation, found, since, alarm)
