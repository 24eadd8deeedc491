"""Calendar windows of budgets, in UTC, and spreading what is left of one over its remaining time. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from banditd.core.types import DAY_US, HOUR_US, MICROSECONDS_PER_SECOND

# A rate is measured over at least this time and this share of the window, because the first minutes say little about
# a month. As a result steady traffic spends about 7 % too much at the beginning.
_UNKNOWN_S: Final = 60.0
_UNKNOWN_WORTH: Final = 0.01
# The previous window counts like this share of a window of the present traffic.
_BEFORE_WORTH: Final = 0.1


def window_of(per: str, at_us: int) -> tuple[int, int]:
    """[start, end) in microseconds of the calendar window that holds ``at_us``; (0, 0) for ``decision``.

    Raises
    ------
    ValueError : an unknown period.
    """
    if per == "decision":
        return 0, 0
    if per == "hour":
        start = at_us - at_us % HOUR_US
        return start, start + HOUR_US
    if per == "day":
        start = at_us - at_us % DAY_US
        return start, start + DAY_US
    if per == "month":
        moment = datetime.fromtimestamp(at_us // MICROSECONDS_PER_SECOND, UTC)
        first = moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        following = (first + timedelta(days=32)).replace(day=1)
        return _us(first), _us(following)
    raise ValueError(f"no such period: {per}")


def window_before(per: str, start_us: int) -> int:
    """Start of the window before the one that starts then."""
    return window_of(per, start_us - 1)[0]


def planned_usd(
    *,
    left_usd: float,
    now_us: int,
    start_us: int,
    end_us: int,
    decisions: int,
    opened_at_us: int,
    decisions_before: int,
) -> float:
    """Mean dollars per decision that would use up the rest of a window by its end.

    Parameters
    ----------
    left_usd : of the window's budget; below 0 counts as 0.
    decisions : on this account since ``opened_at_us`` (0: none yet).
    decisions_before : in the previous window: the traffic to expect while this window says little itself. Without a
    previous window the rate is counted from the account's first decision.
    """
    length_s = (end_us - start_us) / 1e6
    if decisions_before > 0:
        elapsed_s = (now_us - start_us) / 1e6
        worth_s = _BEFORE_WORTH * length_s
        rate = (decisions + decisions_before / length_s * worth_s) / (elapsed_s + worth_s)
    else:
        elapsed_s = max(0.0, (now_us - opened_at_us) / 1e6) if opened_at_us else 0.0
        rate = (decisions + 1.0) / (elapsed_s + max(_UNKNOWN_S, _UNKNOWN_WORTH * length_s))
    expected = max(1.0, rate * max(0.0, (end_us - now_us) / 1e6))
    return max(0.0, left_usd) / expected


def _us(moment: datetime) -> int:
    return int(moment.timestamp()) * MICROSECONDS_PER_SECOND
