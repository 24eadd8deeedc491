"""What a promise may lose in advance in order to learn sooner. Pure.

A promise allows each decision to lose (1 - keep) of the baseline's mean. Learning what other arms are worth is
expensive once and pays off ever after, so some of that allowance may be spent early: that of ``ALLOWANCES``
decisions, but no more than ``ANSWERS`` answers of the baseline are worth.

It is a bucket of reward. An answer of another arm that earns less than predicted for the baseline adds to the debt,
and every rated decision's allowance pays some back. So the debt counts what was seen to be lost, whether or not the
other arms' predictions are right. The advance is lent only once: a debt that has been paid back is not lent again,
since it would then be spent on old errors instead of learning. Losses on rated decisions stand for those on unrated
ones too.

The allowance shrinks in proportion to the debt. Much of a debt is luck: that of a policy that loses nothing is a
random walk with downward drift ``allowed``, held at 0, whose mean is s^2 / (2 allowed) if an answer misses its
prediction by s (Kingman 1961, heavy traffic). A debt limit no larger than that holds most of the allowance back for
ever, however much has been learned. So the limit is at least that, and it grows with what the baseline would have
earned: what luck holds back falls with the number of rated decisions, and what can be lost beyond the allowance stays
within the tolerance with which the promise is judged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from banditd.ope.reference import TOLERANCE, RatedDecision

ALLOWANCES: Final = 300.0  # decisions whose allowance is lent where all are rated ...
ANSWERS: Final = 6.0  # ... and at most what so many answers of the baseline are worth
SPENT_OVER: Final = 80.0  # decisions over which what is left of it may be lost
OVERDRAWN: Final = 4.0 / 3.0  # times the debt limit is owed where nothing of the allowance is left
OWED_SHARE: Final = TOLERANCE / 2.0  # of what the baseline would have earned: the debt limit is at least that
PRIOR_ANSWERS: Final = 10.0  # answers that miss their prediction by as much as rewards in [0, 1] can: 1/2
LEAST: Final = 0.5  # however much is owed, this share of 1 - keep may leave the baseline and learn


@dataclass(slots=True)
class Reserve:
    """Reward lost on rated decisions, beyond their allowance, that has not been paid back.

    owed : now, >= 0. most : the largest debt so far. judged : what the baseline would have earned on the rated
    decisions, by predictions that have not been proved wrong since.
    """

    owed: float = 0.0
    most: float = 0.0
    judged: float = 0.0
    _answers: int = 0  # of other arms
    _missed_square: float = 0.0  # of what they earned beyond their predictions

    def add(self, one: RatedDecision, *, keep: float, baseline_missed: float = 0.0) -> None:
        """Add a rated decision; call it oldest first.

        baseline_missed : by how much the baseline is predicted too low.
        """
        baseline = min(max(one.baseline_predicted, 0.0), 1.0)
        allowed, lost = (1.0 - keep) * baseline, 0.0
        if not one.is_baseline:
            lost = baseline + baseline_missed - one.reward
            self._answers += 1
            self._missed_square += (one.reward - one.predicted) ** 2
        self.judged += baseline
        self.owed = max(self.owed + lost - allowed, 0.0)
        self.most = max(self.most, self.owed)

    def distrust(self) -> None:
        """The predictions have just been proved wrong: what was kept before is no reason to owe more now."""
        self.judged = 0.0

    def slack(self, baseline_reward: float, *, keep: float, rated_share: float) -> float:
        """Mean loss that the next decisions may have; at most 0 if too much is owed.

        baseline_reward : its mean. rated_share : share of the decisions that are rated, in (0, 1].
        """
        allowed = (1.0 - keep) * baseline_reward
        lent = min(ALLOWANCES * allowed, ANSWERS * baseline_reward)
        seen = max(lent * rated_share, 1e-9)  # as much of it on rated decisions uses it up
        left = max(1.0 - self.most / seen, 0.0)
        limit = max(seen, self._luck(allowed), OWED_SHARE * self.judged)
        return allowed * (1.0 - self.owed / (OVERDRAWN * limit)) + lent * left / SPENT_OVER

    def _luck(self, allowed: float) -> float:
        """Mean debt of a policy that loses nothing."""
        variance = (self._missed_square + PRIOR_ANSWERS / 4.0) / (self._answers + PRIOR_ANSWERS)
        return variance / (2.0 * max(allowed, 1e-9))
