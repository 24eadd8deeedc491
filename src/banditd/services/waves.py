"""Which queries are decided at once: those that change nothing for each other, and not too many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Final

# Accounts that a wave is charged to: each may have to solve for its price again, which takes longer than a decision.
MOST_ACCOUNTS: Final = 5
# Decisions under budgets of one wave: taking note of one takes as long as deciding several without.
MOST_CHARGED: Final = 16


def next_wave(
    rest: Iterable[int],
    touched: Callable[[int], Sequence[Hashable]],
    accounts: Callable[[int], Sequence[Hashable]],
    at_once: Mapping[Hashable, int],
) -> list[int]:
    """Those of ``rest`` to be decided next: none comes before one whose decision changes what it touches.

    touched : by query, what its decision changes for all that touch it. accounts : by query, what it is charged to.
    at_once : by account, how many of its queries may be in the wave. One query is, however many accounts it has.
    """
    wave: list[int] = []
    before: set[Hashable] = set()
    charged: Counter[Hashable] = Counter()
    n_charged = 0
    for i in rest:
        keys, mine = touched(i), accounts(i)
        if not keys and not mine:
            wave.append(i)
            continue
        if before.isdisjoint(keys) and before.isdisjoint(mine) and _has_room(mine, charged, at_once):
            if mine:
                n_charged += 1
                too_many = len(charged.keys() | mine) > MOST_ACCOUNTS or n_charged > MOST_CHARGED
                if wave and too_many:
                    break
                charged.update(mine)
            wave.append(i)
        else:
            before.update(mine)
        before.update(keys)
    return wave


def _has_room(accounts: Iterable[Hashable], charged: Mapping[Hashable, int], at_once: Mapping[Hashable, int]) -> bool:
    return all(charged[key] < at_once[key] for key in accounts)
