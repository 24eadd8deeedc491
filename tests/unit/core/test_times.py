"""Times as texts."""

from __future__ import annotations

from banditd.core.times import iso_time


def test_a_time_beyond_the_calendar_is_shown_as_its_last_second() -> None:
    """A reward window of another release may have ended there."""
    assert iso_time(1_796_083_200_000_001) == "2026-12-01T00:00:00.000001Z"
    assert iso_time(10**18 + 1_796_083_200_000_000) == "9999-12-31T23:59:59.000000Z"
    assert iso_time(2**63 - 1).startswith("9999-12-31T23:59:59.")
