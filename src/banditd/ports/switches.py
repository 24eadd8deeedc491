"""What operators have switched while the daemon ran, beside its configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class StoredSwitches:
    """Of one policy: what differs from its configuration, by name. updated_at_us : 0 for nothing."""

    changes: Mapping[str, object] = field(default_factory=dict)
    updated_at_us: int = 0


class SwitchStore(Protocol):
    async def load(self) -> Mapping[str, StoredSwitches]:
        """By policy, of those that have any."""

    async def change(
        self, policy: str, work: Callable[[Mapping[str, object]], Mapping[str, object]], at_us: int
    ) -> StoredSwitches:
        """Replace what is stored by what ``work`` makes of it, under a lock; returns that.

        ``work`` is pure and may be called again; what it raises is raised, and nothing is stored.
        """
