"""Generations of an arm: an arm added under the name of a deleted one starts afresh, and both keep their own data.

Counts and learned sums are stored under ``learned_as``. For the first generation that is the plain name, so older
data did not have to be renamed. Later generations append a blank and their number, and no arm name may contain a
blank.
"""

from __future__ import annotations

from collections.abc import Mapping


def learned_as(arm: str, generation: int) -> str:
    """The name under which the sums of an arm's generation (>= 1) are stored."""
    return arm if generation <= 1 else f"{arm} {generation}"


def generation_of(learned: str) -> tuple[str, int]:
    """Inverse of ``learned_as``: (arm, generation)."""
    arm, blank, number = learned.partition(" ")
    return arm, int(number) if blank else 1


def shown_as(learned: str, present: Mapping[str, int]) -> str:
    """The name that people see: the arm's name if this is its present generation, else with the number in brackets.

    present : the generation of each arm that has had more than one.
    """
    arm, generation = generation_of(learned)
    return arm if generation == present.get(arm, 1) else f"{arm} ({generation})"
