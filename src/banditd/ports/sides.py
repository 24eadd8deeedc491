"""What a comparison with one arm reads of a stretch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

Sides: TypeAlias = tuple[Mapping[str, float], Mapping[str, float]]
"""(sums over all arms, sums of one arm), columns of ``ReportReader.arm_totals``; a side without a row is empty."""
Stretch: TypeAlias = tuple[int | None, int | None]
"""(since, until) in microseconds; None: from the first, up to now."""
