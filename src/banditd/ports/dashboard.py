"""Bounded reads of the log and of the snapshots that the dashboard needs. The reports' are ``ReportReader``'s."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

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


class AttemptRow(NamedTuple):
    """One call of an upstream that a settled decision took. served_arm : who answered instead of the drawn arm."""

    decision_id: str
    served_arm: str | None
    arm: str
    error: str | None
    latency_ms: float | None
    first_token_ms: float | None
    cost_usd: float | None


class DashboardReader(Protocol):
    """Bounded reads of the log and of the snapshots."""

    async def recent_contexts(self, policy: str, schema_hash: str, limit: int) -> list[MapRow]:
        """Newest first; of the last ``limit`` decisions those of this schema."""

    async def recent_attempts(self, policy: str, since_us: int, limit: int) -> list[AttemptRow]:
        """Newest decision first, the calls of each in their order: at most ``limit``, of decisions since then."""

    async def scale_history(self, policy: str, schema_hash: str, points: int) -> list[ScaleRow]:
        """Oldest first, at most ``points``, spread over the time of all snapshots that are kept."""
