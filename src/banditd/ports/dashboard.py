"""Bounded reads of the log and of the snapshots that the dashboard needs. The reports' are ``ReportReader``'s."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AttemptGroup:
    """Calls of one arm that ended alike.

    error : its class, or None for those that were answered. latency_ms, first_token_ms : float64, of those that
    have one, in no order; empty for errors.
    """

    arm: str
    error: str | None
    attempts: int
    cost_usd: float
    latency_ms: FloatArray
    first_token_ms: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RecentCalls:
    """Settled decisions with a call of an upstream, and all their calls.

    ended : decisions by the error class that their last call ended with, or None. fallbacks : decisions that another
    arm than the drawn one answered. truncated : there are older ones in the window.
    """

    ended: Mapping[str | None, int]
    fallbacks: int
    truncated: bool
    groups: Sequence[AttemptGroup]


class DashboardReader(Protocol):
    """Bounded reads of the log and of the snapshots."""

    async def recent_contexts(self, policy: str, schema_hash: str, limit: int) -> list[MapRow]:
        """Newest first; of the last ``limit`` decisions those of this schema."""

    async def recent_calls(self, policy: str, since_us: int, limit: int) -> RecentCalls:
        """Of the decisions since then, the last ``limit`` with a usage report."""

    async def scale_history(self, policy: str, schema_hash: str, points: int) -> list[ScaleRow]:
        """Oldest first, at most ``points``, spread over the time of all snapshots that are kept."""
