"""What anchors, and reports of drift, offer to the layer above."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from banditd.core.anchor import Anchor


class Drift(Protocol):
    async def drift(self, policy: str) -> Mapping[str, object]:
        """Whether quality is slowly lost, and by which cause. Raises NotFoundError."""


class Anchors(Protocol):
    async def renew(self, policy: str, *, key_name: str | None, reason: str | None) -> Anchor:
        """Take the policy's anchor anew, as it stands now. Raises NotFoundError, ConflictError."""
