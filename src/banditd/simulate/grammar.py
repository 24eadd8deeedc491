"""A template grammar: ``{slot}`` in a template is replaced by a random entry of that slot, recursively.

Not a language: no conditions, no counts. ``{number:LOW:HIGH}`` draws an integer.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence

Slots = Mapping[str, Sequence[str]]
_SLOT = re.compile(r"\{([a-z_]+)(?::(-?\d+):(-?\d+))?\}")
_MAX_DEPTH = 12


def expand(template: str, slots: Slots, rng: random.Random) -> str:
    """A random sentence of the grammar that starts at ``template``.

    Raises
    ------
    KeyError : a slot that the grammar does not have.
    """
    for _ in range(_MAX_DEPTH):
        expanded = _SLOT.sub(lambda found: _fill(found, slots, rng), template)
        if expanded == template:
            return expanded
        template = expanded
    raise RecursionError(f"the grammar does not end: {template[:80]}")


def _fill(found: re.Match[str], slots: Slots, rng: random.Random) -> str:
    name, low, high = found.groups()
    if low is not None:
        return str(rng.randint(int(low), int(high)))
    return rng.choice(slots[name])
