"""The names that come near to one that is unknown: what somebody may have meant."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Final

# Looking for what a text resembles takes time in its length, and no name is longer.
_LONGEST: Final = 128


def nearest_names(unknown: str, known: Sequence[str], *, most: int = 1, cutoff: float = 0.6) -> list[str]:
    """At most ``most`` of the known names, the nearest first.

    cutoff : in [0, 1], how much of both must agree (``difflib.SequenceMatcher.ratio``).
    """
    return difflib.get_close_matches(unknown, known, n=most, cutoff=cutoff) if len(unknown) <= _LONGEST else []
