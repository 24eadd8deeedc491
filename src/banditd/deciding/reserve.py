"""What a promise may lose in advance, to learn the sooner. Pure.

A promise allows each decision to lose (1 - keep) of the baseline's mean. What the other arms are worth is dear to
learn and pays ever after, so the allowance of ``RESERVE`` decisions may be lost beforehand. It is a token bucket of
reward, full at the start: every rated decision puts its allowance in, and an answer of another arm takes out what it
earned less than the baseline is predicted to. So what is spent is what was seen to be lost, right or wrong as the
predictions of the others are, and it is made good before it may be lost again. More than full it never is, and it is
the smaller the fewer decisions are rated, as what is known of a mean: then much of what was seen is luck.
"""

from __future__ import annotations

import math
from typing import Final

from banditd.ope.reference import RatedDecision

RESERVE: Final = 150.0  # decisions whose allowance may be lost in advance where all are rated
HASTE: Final = 1.5  # a full reserve adds so many times its allowance to that of one decision ...
LEAST: Final = 0.5  # ... and however overdrawn it is, this share of 1 - keep may leave the baseline and learn


class Reserve:
    """owed : reward on rated decisions that was lost beyond what they were allowed to, and not made good; >= 0."""

    __slots__ = ("owed",)

    def __init__(self) -> None:
        self.owed = 0.0

    def add(self, one: RatedDecision, *, keep: float, baseline_missed: float = 0.0) -> None:
        """Add a rated decision, oldest first. baseline_missed : by how much the baseline is predicted too low."""
        baseline = min(max(one.baseline_predicted, 0.0), 1.0)
        lost = 0.0 if one.is_baseline else baseline + baseline_missed - one.reward
        self.owed = max(self.owed + lost - (1.0 - keep) * baseline, 0.0)


def slack_of(allowed: float, owed: float, rated_share: float) -> float:
    """Mean loss that the next decisions may have; not above 0 where the reserve is overdrawn.

    allowed : (1 - keep) of the baseline's mean reward. owed : on rated decisions, >= 0. rated_share : of all
    decisions, in (0, 1].
    """
    if allowed <= 0.0:
        return 0.0
    left = 1.0 - (owed / rated_share) / (RESERVE * math.sqrt(rated_share) * allowed)
    return (1.0 + HASTE * left) * allowed
