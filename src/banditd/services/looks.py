"""What the dashboard alone is shown, as protocols."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Dashboard(Protocol):
    async def map(self, policy: str, limit: int) -> Mapping[str, object]: ...

    async def upstreams(self, policy: str, window_s: float) -> Mapping[str, object]: ...

    async def choices(self, policy: str) -> Mapping[str, object]: ...

    async def learning(self, policy: str) -> Mapping[str, object]: ...


class Abilities(Protocol):
    async def abilities(self, policy: str) -> Mapping[str, object]:
        """Difficulty per cluster and ability per arm, on one scale. Raises NotFoundError."""
