"""What candidates offer to the layer above."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Candidates(Protocol):
    async def create(
        self,
        policy: str,
        name: str,
        *,
        settings: Mapping[str, object],
        arms: Mapping[str, Mapping[str, object]],
        key_name: str | None = None,
    ) -> tuple[Mapping[str, object], bool]:
        """(the candidate, whether it is new). Raises NotFoundError, InvalidInputError, ConflictError."""

    async def list(self, policy: str) -> Mapping[str, object]:
        """Raises NotFoundError."""

    async def get(self, policy: str, name: str) -> Mapping[str, object]:
        """Raises NotFoundError."""

    async def delete(self, policy: str, name: str) -> None:
        """Raises NotFoundError, ConflictError."""
