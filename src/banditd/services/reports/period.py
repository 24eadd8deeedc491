"""The period of a time series. Pure."""

from __future__ import annotations

from typing import Final

from banditd.core.errors import InvalidInputError
from banditd.core.times import iso_time
from banditd.core.types import DAY_US, MICROSECONDS_PER_SECOND

MAX_STEPS: Final = 2000
MAX_PERIODS: Final = 100
"""Most steps of a report that is computed separately for each."""


def period_of(since_us: int | None, until_us: int | None, step_s: int, now_us: int) -> tuple[int, int]:
    """(since, until) in microseconds; by default the last day.

    Raises InvalidInputError for an empty period, or more than ``MAX_STEPS`` steps.
    """
    until_us = now_us if until_us is None else until_us
    since_us = until_us - DAY_US if since_us is None else since_us
    if since_us >= until_us:
        raise InvalidInputError("since must be before until", field="since")
    if until_us - since_us > MAX_STEPS * step_s * MICROSECONDS_PER_SECOND:
        raise InvalidInputError(f"at most {MAX_STEPS} steps; take a longer step_s", field="step_s")
    return since_us, until_us


def steps_of(
    since_us: int | None, until_us: int | None, step_s: int | None, now_us: int
) -> list[tuple[int | None, int | None]]:
    """(since, until) of every step of a period, the last one cut at its end; empty without ``step_s``.

    Raises InvalidInputError for an empty period, one without a start, or more than ``MAX_PERIODS`` steps.
    """
    if since_us is not None and until_us is not None and since_us >= until_us:
        raise InvalidInputError("since must be before until", field="since")
    if step_s is None:
        return []
    if since_us is None:
        raise InvalidInputError("give since, from which the steps are counted", field="since")
    end_us, step_us = now_us if until_us is None else until_us, step_s * MICROSECONDS_PER_SECOND
    if end_us - since_us > MAX_PERIODS * step_us:
        raise InvalidInputError(f"at most {MAX_PERIODS} steps; take a longer step_s", field="step_s")
    return [(begun_us, min(begun_us + step_us, end_us)) for begun_us in range(since_us, end_us, step_us)]


def period_row(since_us: int | None, until_us: int | None) -> dict[str, object]:
    """A report's start and end; null for no limit."""
    return {
        "since": None if since_us is None else iso_time(since_us),
        "until": None if until_us is None else iso_time(until_us),
    }
