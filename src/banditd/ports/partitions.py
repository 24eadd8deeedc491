"""Partitions of the decision log, where the database has them."""

from __future__ import annotations

from typing import Protocol


class LogPartitions(Protocol):
    async def make_ahead(self, now_us: int) -> int:
        """Make the partitions that decisions of the next weeks need; returns how many were missing."""

    async def drop(self, *, before_us: int) -> int:
        """Drop those whose decisions are all older than that and have nothing left to be learned.

        Returns before what time decisions may be deleted one by one: of a log without partitions ``before_us``, else
        at most the start of its oldest partition, which goes as a whole.
        """
