"""What a promise may lose in advance, to learn the sooner. Pure.

A promise allows each decision to lose (1 - keep) of the baseline's mean. What the other arms are worth is dear to
learn and pays ever after, so some of that may be lost beforehand: the allowance of ``ALLOWANCES`` decisions, and no
more than ``ANSWERS`` answers of the baseline are worth. It is a bucket of reward: what an answer of another arm earns
less than the baseline is predicted to is owed, and the allowance of every rated decision pays it back. So what is
spent is what was seen to be lost, right or wrong as the predictions of the others are. It is lent once: of what was
owed at the worst nothing is lent again, since later it would be spent on old errors, not on learning. A loss that was
seen stands for those on decisions that nobody rated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from banditd.ope.reference import RatedDecision

ALLOWANCES: Final = 300.0  # decisions whose allowance is lent where all are rated ...
ANSWERS: Final = 6.0  # ... and at most what so many answers of the baseline are worth
SPENT_OVER: Final = 80.0  # decisions over which what is left of it may be lost
OVERDRAWN: Final = 4.0 / 3.0  # times what was lent is owed where nothing of the allowance is left
LEAST: Final = 0.5  # however much is owed, this share of 1 - keep may leave the baseline and learn


@dataclass(slots=True)
class Reserve:
    """Reward on rated decisions that was lost beyond what they were allowed to and not made good.

    owed : now, >= 0. most : at the worst so far.
    """

    owed: float = 0.0
    most: float = 0.0

    def add(self, one: RatedDecision, *, keep: float, baseline_missed: float = 0.0) -> None:
        """Add a rated decision, oldest first. baseline_missed : by how much the baseline is predicted too low."""
        baseline = min(max(one.baseline_predicted, 0.0), 1.0)
        lost = 0.0 if one.is_baseline else baseline + baseline_missed - one.reward
        self.owed = max(self.owed + lost - (1.0 - keep) * baseline, 0.0)
        self.most = max(self.most, self.owed)

    def slack(self, baseline_reward: float, *, keep: float, rated_share: float) -> float:
        """Mean loss that the next decisions may have; not above 0 where too much is owed.

        baseline_reward : its mean. rated_share : of all decisions, in (0, 1].
        """
        allowed = (1.0 - keep) * baseline_reward
        lent = min(ALLOWANCES * allowed, ANSWERS * baseline_reward)
        unit = max(lent * rated_share, 1e-9)  # as much of it on rated decisions uses it up
        left = max(1.0 - self.most / unit, 0.0)
        return allowed * (1.0 - self.owed / (OVERDRAWN * unit)) + lent * left / SPENT_OVER
