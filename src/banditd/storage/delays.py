"""The bins of the histogram of reward delays. Constant: a row of ``delay_count`` names its bin by number."""

from __future__ import annotations

from bisect import bisect_left
from math import inf
from typing import Final

BOUNDS_S: Final = (
    0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0, 7_200.0,
    21_600.0, 43_200.0, 86_400.0, 172_800.0, 432_000.0, 864_000.0, 1_728_000.0, 2_592_000.0, inf,
)  # fmt: skip


def delay_bin(delay_s: float) -> int:
    """Number of the bin whose upper bound is the first at or above this delay."""
    return bisect_left(BOUNDS_S, max(delay_s, 0.0))
