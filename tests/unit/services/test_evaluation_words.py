"""What an evaluation says would settle it."""

from __future__ import annotations

import numpy as np
import pytest

from banditd.ope.difference import FIELDS, DifferenceSums
from banditd.services.candidates.verdict import in_days
from banditd.services.candidates.walk import Walked


@pytest.mark.parametrize(
    ("minutes", "says"),
    [(3, " (0.1 hours at this rate)"), (60, " (2 hours at this rate)"), (1440, " (2.0 days at this rate)")],
)
def test_a_short_time_is_said_in_hours_and_never_as_no_days(minutes: int, says: str) -> None:
    sums = np.where(np.array(FIELDS) == "rated", 500.0, 0.0)
    walked = Walked(sums=DifferenceSums(sums), since_us=0, until_us=minutes * 60_000_000)
    assert in_days(walked, 1000) == says
    assert in_days(walked, 10**9) == ""
