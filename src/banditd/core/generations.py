"""Generations of an arm: one that is added under the name of a deleted one begins anew, and both keep what is theirs.

What is counted and learned stands under ``learned_as``: the name alone for the first generation, so that nothing of
before had to be renamed; with its number, which no name has a blank to imitate, for later ones.
"""

from __future__ import annotations

from collections.abc import Mapping


def learned_as(arm: str, generation: int) -> str:
    """The name that the sums of an arm's generation (>= 1) stand under."""
    return arm if generation <= 1 else f"{arm} {generation}"


def generation_of(learned: str) -> tuple[str, int]:
    """The inverse of ``learned_as``: (arm, generation)."""
    arm, blank, number = learned.partition(" ")
    return arm, int(number) if blank else 1


def shown_as(learned: str, present: Mapping[str, int]) -> str:
    """What people see: the arm's name for its present generation, else with its number in brackets.

    present : the generation of each arm that has had more than one.
    """
    arm, generation = generation_of(learned)
    return arm if generation == present.get(arm, 1) else f"{arm} ({generation})"
