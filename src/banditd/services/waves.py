"""Which queries are decided at once: those that change nothing for each other, and not too many."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Final

# Accounts that a wave is charged to: each may have to solve for its price again, which takes longer than a decision.
MOST_CHARGES: Final = 5


def next_wave(
    rest: Iterable[int], touched: Callable[[int], Sequence[Hashable]], charges: Callable[[int], int]
) -> list[int]:
    """Those of ``rest`` to be decided next: none comes before one whose decision changes what it touches.

    touched : by query, what its decision changes for others; its accounts are among it. charges : by query, how many
    accounts it is charged to; one query is in the wave however many these are.
    """
    wave: list[int] = []
    before: set[Hashable] = set()
    charged = 0
    for i in rest:
        keys = touched(i)
        if not keys:
            wave.append(i)
            continue
        if before.isdisjoint(keys):
            charged += charges(i)
            if wave and charged > MOST_CHARGES:
                break
            wave.append(i)
        before.update(keys)
    return wave
