"""What a promise may lose in advance in order to learn sooner. Pure.

A promise allows each decision to lose (1 - keep) of the baseline's mean. Learning what other arms are worth is
expensive once and pays off ever after, so some of that allowance may be spent early: that of ``ALLOWANCES``
decisions, but no more than ``ANSWERS`` answers of the baseline are worth.

It is a bucket of reward. An answer of another arm that earns less than predicted for the baseline adds to the debt,
and every rated decision's allowance pays some back. So the debt counts what was seen to be lost, whether or not the
other arms' predictions are right. The advance is lent only once: a debt that has been paid back is not lent again,
since it would then be spent on old errors instead of learning. Losses on rated decisions stand for those on unrated
ones too.
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
    """Reward lost on rated decisions, beyond their allowance, that has not been paid back.

    owed : now, >= 0. most : the largest debt so far.
    """

    owed: float = 0.0
    most: float = 0.0

    def add(self, one: RatedDecision, *, keep: float, baseline_missed: float = 0.0) -> None:
        """Add a rated decision; call it oldest first.

        baseline_missed : by how much the baseline is predicted too low.
        """
        baseline = min(max(one.baseline_predicted, 0.0), 1.0)
        lost = 0.0 if one.is_baseline else baseline + baseline_missed - one.reward
        self.owed = max(self.owed + lost - (1.0 - keep) * baseline, 0.0)
        self.most = max(self.most, self.owed)

    def slack(self, baseline_reward: float, *, keep: float, rated_share: float) -> float:
        """Mean loss that the next decisions may have; at most 0 if too much is owed.

        baseline_reward : its mean. rated_share : share of the decisions that are rated, in (0, 1].
        """
        allowed = (1.0 - keep) * baseline_reward
        lent = min(ALLOWANCES * allowed, ANSWERS * baseline_reward)
        unit = max(lent * rated_share, 1e-9)  # as much of it on rated decisions uses it up
        left = max(1.0 - self.most / unit, 0.0)
        return allowed * (1.0 - self.owed / (OVERDRAWN * unit)) + lent * left / SPENT_OVER
