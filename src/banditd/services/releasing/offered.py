"""What releases offer to the layer above."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol

from banditd.core.release import ReleaseTerms

Verb = Literal["promote", "pause", "resume", "abort"]


class Releases(Protocol):
    async def start(
        self, policy: str, candidate: str, terms: ReleaseTerms, *, key_name: str | None = None, again: bool = False
    ) -> Mapping[str, object]:
        """Raises NotFoundError, InvalidInputError for what no release can carry, ConflictError."""

    async def page(self, policy: str | None, limit: int) -> Mapping[str, object]:
        """Newest first."""

    async def get(self, release_id: str) -> Mapping[str, object]:
        """Raises NotFoundError."""

    async def events(self, release_id: str) -> Mapping[str, object]:
        """Raises NotFoundError."""

    async def points(self, release_id: str) -> Mapping[str, object]:
        """How it stood now and then. Raises NotFoundError."""

    async def change(
        self, release_id: str, verb: Verb, *, key_name: str | None, reason: str | None, force: bool = False
    ) -> Mapping[str, object]:
        """Raises NotFoundError, ConflictError."""

    async def roll_back(self, policy: str, *, key_name: str | None, reason: str | None) -> Mapping[str, object]:
        """Abort the open release, else take the newest promotion back. Raises NotFoundError, ConflictError."""
