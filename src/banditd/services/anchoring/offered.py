"""What anchors offer to the layer above."""

from __future__ import annotations

from typing import Protocol

from banditd.core.anchor import Anchor


class Anchors(Protocol):
    async def renew(self, policy: str, *, key_name: str | None, reason: str | None) -> Anchor:
        """Take the policy's anchor anew, as it stands now. Raises NotFoundError, ConflictError."""
