"""The checksum of a decision's row: what was decided and what it teaches, in the form in which it is stored.

It finds what a disk, a hand-written UPDATE or a copy has changed, and names the row; it is no protection against
somebody who means it. Of the columns that never change after the commit; a null (rows of older releases) checks
nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any, Final
from zlib import crc32

TEXTS: Final = ("decision_id", "policy", "arm", "reason", "arms", "schema_hash", "facts", "charges")
NUMBERS: Final = (
    "created_at_us", "cluster", "snapshot_version", "epoch", "propensity", "uniform", "predicted_cost_usd",
)  # fmt: skip
BLOBS: Final = ("probability", "mean", "deviation", "cost_usd", "penalty", "x")
COLUMN: Final = "checksum"

_pack_numbers = struct.Struct("<4q3d").pack
_of_row = itemgetter(*TEXTS), itemgetter(*NUMBERS), itemgetter(*BLOBS)


def checksum(texts: tuple[str, ...], numbers: tuple[Any, ...], blobs: tuple[bytes, ...]) -> int:
    """CRC-32 over the values of ``TEXTS``, ``NUMBERS`` and ``BLOBS``, in their order; in [0, 2**32)."""
    *others, cost_usd = numbers
    # SQLite forgets the sign of a zero.
    total = crc32(_pack_numbers(*others, cost_usd + 0.0))
    total = crc32("\x1f".join(texts).encode("utf-8", "backslashreplace"), total)
    return crc32(b"".join(blobs), total)


class RowChecksum:
    """The checksum of rows given as tuples in the order of ``columns``."""

    __slots__ = ("_parts",)

    def __init__(self, columns: Sequence[str]) -> None:
        self._parts = tuple(itemgetter(*map(columns.index, names)) for names in (TEXTS, NUMBERS, BLOBS))

    def __call__(self, row: Sequence[Any]) -> int:
        texts, numbers, blobs = self._parts
        return checksum(texts(row), numbers(row), blobs(row))


def is_damaged(row: Mapping[Any, Any]) -> bool:
    """Whether a stored row with its checksum is not what was committed."""
    stored = row[COLUMN]
    if stored is None:
        return False
    try:
        texts, numbers, blobs = _of_row
        return bool(stored != checksum(texts(row), numbers(row), blobs(row)))
    except (TypeError, struct.error):
        return True  # a text where bytes should be: SQLite keeps what it is given
