"""How often one answer is preferred to another: Wald's sequential test of .10 against .20. Pure.

A comparison counts as preferred if the judge prefers that answer in both orders. With p its probability, each
preferred comparison moves the log-odds of p = HIGH against p = LOW by ln(HIGH / LOW), every other by ln((1 - HIGH) /
(1 - LOW)); beyond ln((1 - error) / error) on either side the test is decided and stops (Wald 1945, Sequential tests
of statistical hypotheses).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

LOW: Final = 0.10
HIGH: Final = 0.20
ERROR: Final = 0.05
"""Probability of deciding for the wrong side, for either."""
BOUND: Final = math.log((1.0 - ERROR) / ERROR)
_PREFERRED: Final = math.log(HIGH / LOW)
_NOT: Final = math.log((1.0 - HIGH) / (1.0 - LOW))

Side = Literal["rarely", "often"]


@dataclass(frozen=True, slots=True)
class PreferenceTest:
    """compared, preferred : comparisons so far, whether or not after it was decided.

    log_odds : when it was decided, or now.
    side : ``rarely`` (LOW against HIGH), ``often`` (HIGH); None: not known yet.
    after : comparisons that it took.
    way : the log-odds after each comparison, until it was decided.
    """

    compared: int
    preferred: int
    log_odds: float
    side: Side | None = None
    after: int | None = None
    way: tuple[float, ...] = ()


def preference_in(preferred: Iterable[bool]) -> PreferenceTest:
    """The test over comparisons in the order in which they were made, looking after each."""
    compared = count = 0
    log_odds, side, after = 0.0, None, None
    way: list[float] = []
    for one in preferred:
        compared += 1
        count += one
        if side is None:
            log_odds += _PREFERRED if one else _NOT
            way.append(log_odds)
            if abs(log_odds) >= BOUND:
                side, after = _side(log_odds), compared
    return PreferenceTest(compared, count, log_odds, side, after, tuple(way))


def _side(log_odds: float) -> Side:
    return "often" if log_odds > 0.0 else "rarely"
