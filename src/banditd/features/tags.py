"""Assigns columns to the values of context tags: the first values get one each, all others share one. No I/O here.

A column never changes its value, so a context built yesterday means the same today. To keep columns over restarts,
read ``unseen``, store positions, and load them with ``adopt``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from banditd.features.outline import PROMPT_TEMPLATE

PLACES: Final = 15  # values of a tag with a column of their own
# A derived value must be met this often before it gets a column: a template that contains a document never is.
SIGHTINGS: Final = {PROMPT_TEMPLATE: 3}
_FEW_SEEN: Final = 256  # number of less often met values that are remembered


class TagColumns:
    """Positions in [0, ``PLACES``) for the values of some tags, and ``PLACES`` for any other value."""

    def __init__(self, tags: Sequence[str]) -> None:
        self.tags = tuple(tags)
        self._places: dict[str, dict[str, int]] = {tag: {} for tag in tags}
        self._unseen: dict[tuple[str, str], None] = {}
        self._met: dict[tuple[str, str], int] = {}

    def place(self, tag: str, value: str) -> int:
        """The value's position."""
        return self._places[tag].get(value, PLACES)

    def note(self, given: Mapping[str, str]) -> None:
        """Queue values without a position, while there is space."""
        for tag in self.tags:
            value = given.get(tag)
            places = self._places[tag]
            if value is None or value in places or len(places) >= PLACES:
                continue
            if self._often(tag, value) and len(self._unseen) < PLACES * len(self.tags):
                self._unseen[tag, value] = None

    def _often(self, tag: str, value: str) -> bool:
        """Whether the value has now been met often enough."""
        wanted = SIGHTINGS.get(tag, 1)
        if wanted == 1:
            return True
        met = self._met.pop((tag, value), 0) + 1
        if met < wanted:
            if len(self._met) >= _FEW_SEEN:
                del self._met[next(iter(self._met))]  # the least recently met one
            self._met[tag, value] = met
        return met >= wanted

    def unseen(self) -> list[tuple[str, str]]:
        """(tag, value) that wait for a position, in the order in which they were met."""
        return list(self._unseen)

    def adopt(self, rows: Iterable[tuple[str, str, int]]) -> None:
        """Load stored (tag, value, position); other tags are ignored."""
        for tag, value, place in rows:
            if tag in self._places:
                self._places[tag][value] = place
        full = {tag for tag, places in self._places.items() if len(places) >= PLACES}
        self._unseen = {
            (tag, value): None for tag, value in self._unseen if tag not in full and value not in self._places[tag]
        }

    def give(self, wanted: Iterable[tuple[str, str]]) -> None:
        """Assign positions here, in order; for callers that do not store them (a replay)."""
        for tag, value in wanted:
            places = self._places[tag]
            if value not in places and len(places) < PLACES:
                places[value] = len(places)
        self._unseen.clear()
