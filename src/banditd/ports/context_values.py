"""Columns of the values of context tags, the same for every replica and for good."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class ContextValueStore(Protocol):
    async def places(
        self, policy: str, wanted: Sequence[tuple[str, str]] = (), *, at_most: int = 0
    ) -> list[tuple[str, str, int]]:
        """(tag, value, place) of every value of the policy that has a place.

        Before that, places are given to the ``wanted`` (tag, value) that have none, in their order, while fewer than
        ``at_most`` of their tag are taken. A place is never taken back. Where another replica gives the same place
        at that moment, the value stays without: ask again.
        """
