"""The stretch of a time series. Pure."""

from __future__ import annotations

from typing import Final

from banditd.core.errors import InvalidInputError
from banditd.core.types import MICROSECONDS_PER_SECOND

MAX_STEPS: Final = 2000
DAY_US: Final = 86_400 * MICROSECONDS_PER_SECOND


def period_of(since_us: int | None, until_us: int | None, step_s: int, now_us: int) -> tuple[int, int]:
    """(since, until) in microseconds; a day up to now unless told.

    Raises InvalidInputError for an empty stretch, or more than ``MAX_STEPS`` steps.
    """
    until_us = now_us if until_us is None else until_us
    since_us = until_us - DAY_US if since_us is None else since_us
    if since_us >= until_us:
        raise InvalidInputError("since must be before until", field="since")
    if until_us - since_us > MAX_STEPS * step_s * MICROSECONDS_PER_SECOND:
        raise InvalidInputError(f"at most {MAX_STEPS} steps; take a longer step_s", field="step_s")
    return since_us, until_us
