"""Bounded reads of the log and of the snapshots that the dashboard needs. The reports' are ``ReportReader``'s."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from banditd.core.types import FloatArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MapRow:
    """A recent decision with its context. x : float64 (n_features,). reward : merged, as folded, or None."""

    decision_id: str
    created_at_us: int
    arm: str
    cluster: int
    explored: bool
    degraded: str | None
    x: FloatArray
    reward: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleRow:
    """Prior standard deviations per feature group, as one snapshot had them."""

    version: int
    created_at_us: int
    shared: Mapping[str, float]
    own: Mapping[str, float]


class DashboardReader(Protocol):
    """Bounded reads of the log and of the snapshots."""

    async def recent_contexts(self, policy: str, schema_hash: str, limit: int) -> list[MapRow]:
        """Newest first; of the last ``limit`` decisions those of this schema."""

    async def scale_history(self, policy: str, schema_hash: str, points: int) -> list[ScaleRow]:
        """Oldest first, at most ``points``, spread over the time of all snapshots that are kept."""
