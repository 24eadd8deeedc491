"""Which queries are decided at once: those that do not affect each other, up to a limit."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Final

# Most accounts that a wave is charged to: each may solve for its price again, which is slower than a decision.
MOST_ACCOUNTS: Final = 5
# Most decisions under budgets in a wave: recording one takes as long as deciding several without budgets.
MOST_CHARGED: Final = 16


def next_wave(
    rest: Iterable[int],
    touched: Callable[[int], Sequence[Hashable]],
    accounts: Mapping[int, Sequence[Hashable]],
    at_once: Mapping[Hashable, int],
) -> list[int]:
    """The queries of ``rest`` to decide next. None overtakes an earlier query whose decision affects it.

    touched : by query, what its decision changes for other queries that touch the same.
    accounts : by query, what it is charged to.
    at_once : by account, how many of its queries may be in the wave. At least one query is returned.
    """
    wave: list[int] = []
    before: set[Hashable] = set()
    charged: set[Hashable] = set()
    n_charged, left = 0, dict(at_once)
    for i in rest:
        keys, own_accounts = touched(i), accounts.get(i, ())
        if not (keys or own_accounts):
            wave.append(i)
            continue
        if before.isdisjoint(keys) and before.isdisjoint(own_accounts) and all(map(left.__getitem__, own_accounts)):
            n_charged += bool(own_accounts)
            if wave and (n_charged > MOST_CHARGED or len(charged.union(own_accounts)) > MOST_ACCOUNTS):
                break
            wave.append(i)
            charged.update(own_accounts)
            for key in own_accounts:
                left[key] -= 1
        else:
            before.update(own_accounts)
        before.update(keys)
    return wave
