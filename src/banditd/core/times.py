"""Times as text: ISO 8601 in UTC, with a Z."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from banditd.core.types import MICROSECONDS_PER_SECOND

_LAST_S: Final = 253_402_300_799


def iso_time(at_us: int) -> str:
    """ISO text of microseconds since the epoch, with six decimals."""
    return f"{iso_second(at_us // MICROSECONDS_PER_SECOND)}.{at_us % MICROSECONDS_PER_SECOND:06d}Z"


# Under load many answers name the same second, and computing the date is most of the work.
@lru_cache(maxsize=256)
def iso_second(at_s: int) -> str:
    """ISO text of seconds since the epoch, without the Z; times after the year 9999 give its last second."""
    return datetime.fromtimestamp(min(at_s, _LAST_S), UTC).replace(tzinfo=None).isoformat()


def parse_time(text: str) -> int:
    """Microseconds since the epoch: the inverse of ``iso_time``. Raises ValueError for a day that does not exist."""
    moment = datetime.fromisoformat(text.removesuffix("Z")).replace(tzinfo=UTC)
    # As a float, the last microseconds of the year 9999 would round up into the year 10000.
    return int(moment.replace(microsecond=0).timestamp()) * MICROSECONDS_PER_SECOND + moment.microsecond
