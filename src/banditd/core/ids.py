"""Identifiers: UUID version 7 (RFC 9562, section 5.7), which sort by the time they were made.

Not a clock: the caller brings the time.
"""

from __future__ import annotations

import secrets
import struct
import threading
from collections.abc import Sequence
from typing import Final

_TAIL_BITS: Final = 74
_TAIL_LIMIT: Final = 1 << _TAIL_BITS
_LOW_MASK: Final = (1 << 62) - 1
_NODE_MASK: Final = (1 << 48) - 1
_VARIANT: Final = 2 << 62
_MAX_MILLISECOND: Final = (1 << 48) - 1
_SLACK_US: Final = 60_000_000
_ROLLBACK_TOLERATED_MS: Final = 10_000
"""If the clock steps back by less than this, ids stay monotonic; a larger step is taken as a new time."""


class _Sequence:
    """The last id that was issued. The 74 bits after the millisecond are a counter that starts at a random number."""

    __slots__ = ("lock", "millisecond", "tail")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.millisecond = -1
        self.tail = 0

    def next(self, millisecond: int, steps: Sequence[int]) -> list[str]:
        """The next ids of that millisecond. Each one is its step (>= 0) plus one above the one before."""
        made = []
        with self.lock:
            behind = self.millisecond - millisecond
            anew = behind < 0 or behind > _ROLLBACK_TOLERATED_MS
            if anew:
                self.millisecond = millisecond
            for step in steps:
                self.tail += 1 + step
                if anew or self.tail >= _TAIL_LIMIT:
                    if not anew:
                        self.millisecond += 1
                    # The top bit starts at 0, so the counter cannot run over soon after a new millisecond.
                    self.tail, anew = secrets.randbits(_TAIL_BITS - 1), False
                made.append(_text(self.millisecond, self.tail))
        return made


_sequence = _Sequence()


def new_id(now_us: int) -> str:
    """A UUIDv7 of this time, greater than every id made before it in this process.

    Parameters
    ----------
    now_us : microseconds since the Unix epoch.

    Notes
    -----
    When the clock steps back by up to ten seconds the old millisecond goes on (RFC 9562, section 6.2), so
    an id is at most that far from its time.
    """
    return new_ids(now_us, 1)[0]


def new_ids(now_us: int, count: int) -> list[str]:
    """``count`` ids at once, ascending."""
    millisecond = min(max(now_us // 1000, 0), _MAX_MILLISECOND)
    noise = secrets.token_bytes(4 * count)  # one system call for each would cost more than the ids themselves
    return _sequence.next(millisecond, struct.unpack(f"{count}I", noise))


def first_id(since_us: int) -> str:
    """A lower bound for the ids of everything made since then; allows for ids being seconds away from their time."""
    return lowest_id(since_us - _SLACK_US)


def end_id(until_us: int) -> str:
    """An upper bound for the ids of everything made before then."""
    return lowest_id(until_us + _SLACK_US)


def lowest_id(at_us: int) -> str:
    """The smallest UUIDv7 of that millisecond, for id ranges."""
    return _text(min(max(at_us // 1000, 0), _MAX_MILLISECOND), 0)


def _text(millisecond: int, tail: int) -> str:
    low = _VARIANT | tail & _LOW_MASK
    time = f"{millisecond >> 16:08x}-{millisecond & 65535:04x}"
    return f"{time}-7{tail >> 62:03x}-{low >> 48:04x}-{low & _NODE_MASK:012x}"
