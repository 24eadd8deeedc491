"""What the log asks of the services when a usage report comes."""

from __future__ import annotations

from collections.abc import Callable

from banditd.core.rewards import UsageReport
from banditd.core.types import Arm

PriceCost = Callable[[Arm, UsageReport], float | None]
"""Dollars of one call: as told, else of its tokens at the arm's price; None without either."""
