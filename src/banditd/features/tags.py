"""Which column a value of a tag has: the first values seen have one each, all others share one. No I/O here.

A column never changes hands, so a context that was made yesterday means the same today. Who keeps the columns over
restarts reads ``unseen``, stores places, and says them by ``adopt``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from banditd.features.outline import PROMPT_TEMPLATE

PLACES: Final = 15  # values of a tag with a column of their own
# A value that was found must be met so often before it takes a column: a template with a document in it never is.
SIGHTINGS: Final = {PROMPT_TEMPLATE: 3}
_FEW_SEEN: Final = 256  # values that are remembered as met less often


class TagColumns:
    """Places in [0, ``PLACES``) of the values of some tags, and ``PLACES`` for any other value."""

    def __init__(self, tags: Sequence[str]) -> None:
        self.tags = tuple(tags)
        self._places: dict[str, dict[str, int]] = {tag: {} for tag in tags}
        self._unseen: dict[tuple[str, str], None] = {}
        self._met: dict[tuple[str, str], int] = {}

    def place(self, tag: str, value: str) -> int:
        """Where the value stands."""
        return self._places[tag].get(value, PLACES)

    def note(self, given: Mapping[str, str]) -> None:
        """Values that have no place wait for one from now on, while there is room."""
        for tag in self.tags:
            value = given.get(tag)
            places = self._places[tag]
            if value is None or value in places or len(places) >= PLACES:
                continue
            if self._often(tag, value) and len(self._unseen) < PLACES * len(self.tags):
                self._unseen[tag, value] = None

    def _often(self, tag: str, value: str) -> bool:
        """Whether the value has been met often enough, this time included."""
        wanted = SIGHTINGS.get(tag, 1)
        if wanted == 1:
            return True
        met = self._met.pop((tag, value), 0) + 1
        if met < wanted:
            if len(self._met) >= _FEW_SEEN:
                del self._met[next(iter(self._met))]  # the one that was not met for the longest time
            self._met[tag, value] = met
        return met >= wanted

    def unseen(self) -> list[tuple[str, str]]:
        """(tag, value) that wait for a place, in the order in which they were met."""
        return list(self._unseen)

    def adopt(self, rows: Iterable[tuple[str, str, int]]) -> None:
        """Take over (tag, value, place) as they are stored; of other tags nothing."""
        for tag, value, place in rows:
            if tag in self._places:
                self._places[tag][value] = place
        full = {tag for tag, places in self._places.items() if len(places) >= PLACES}
        self._unseen = {
            (tag, value): None for tag, value in self._unseen if tag not in full and value not in self._places[tag]
        }

    def give(self, wanted: Iterable[tuple[str, str]]) -> None:
        """Places for values right here, in their order: for who keeps no columns (a replay)."""
        for tag, value in wanted:
            places = self._places[tag]
            if value not in places and len(places) < PLACES:
                places[value] = len(places)
        self._unseen.clear()
