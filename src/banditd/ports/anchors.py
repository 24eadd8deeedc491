"""The store of anchors. Each method is one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from banditd.core.anchor import Anchor, AnchorEvent, AnchorState, Taking


class AnchorStore(Protocol):
    async def anchors(self) -> Mapping[str, Anchor]:
        """By policy, without what they decide by."""

    async def load(self, anchor_id: str) -> AnchorState | None:
        """None where it was renewed meanwhile."""

    async def take(self, policy: str, schema_hash: str, taking: Taking, *, instead_of: str | None) -> Anchor:
        """Freeze what the learner has committed, in place of the anchor that was known; None for none.

        Raises ConflictError where another was taken meanwhile, or where nothing was learned under that schema.
        """

    async def events(self, policy: str, limit: int) -> Sequence[AnchorEvent]:
        """Newest first."""
