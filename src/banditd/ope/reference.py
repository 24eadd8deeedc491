"""What the baseline would have earned on the decisions that were made, and whether a promise about it was kept.

Over the rated decisions on which the baseline could have been drawn, with its logged probability p and logged
prediction m, and r the reward of the drawn arm:

    phi   = m + 1{baseline drawn} (r - m) / p                  doubly robust, with the interval of ``fixed.py``

What was played is known on the rated decisions, so the interval of the ratio comes from the gain's alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Final, Literal

from banditd.ope.fixed import FixedArmSums, fixed_arm_terms

TOLERANCE: Final = 0.01  # of the ratio: a controller that aims at ``keep`` can never prove more than ``keep``
ENOUGH_WORTH: Final = 50.0  # uniformly drawn answers of the baseline before anything is said to be held
STEPS: Final = (0.05, 0.1, 0.2, 0.35, 0.5, 0.7)  # bets of the shortfall test, mixed evenly
MARGIN: Final = 0.03  # of the baseline's quality below ``keep`` that the shortfall test lets pass
ALARM: Final = 5000.0  # rated decisions between two false alarms, at least, where the quality is at that edge
FADE: Final = 1.0 - 1.0 / 200.0  # of what the baseline's answers missed of their predictions
PSEUDO: Final = 20.0  # answers that say nothing was missed

Held = Literal["yes", "no", "unknown"]


@dataclass(frozen=True, slots=True)
class RatedDecision:
    """One rated decision under a promise.

    reward : in [0, 1], of the arm that answered. predicted : of that arm, as logged before the reward was known.
    baseline_predicted : of the baseline. baseline_probability : with which the baseline was drawn, in [0, 1].
    is_baseline : whether the baseline answered.
    """

    reward: float
    predicted: float
    baseline_predicted: float
    baseline_probability: float
    is_baseline: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was kept of the baseline's quality, over ``rated`` decisions.

    ratio : mean reward over the baseline's; low, high : its 95 % interval; None where there are no data behind it.
    gain : the 95 % interval of what the baseline would have brought beyond what was earned.
    worth : uniformly drawn answers that the knowledge of the baseline is worth.
    """

    rated: int
    unsupported: int
    worth: float
    reward: float | None = None
    baseline_reward: float | None = None
    half_width: float | None = None
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    gain: tuple[float, float] | None = None

    def held(self, keep: float) -> Held:
        """Whether ``keep`` was kept: known either way only where the interval tells."""
        if self.low is None or self.high is None or self.worth < ENOUGH_WORTH:
            return "unknown"
        if self.low >= keep - TOLERANCE:
            return "yes"
        return "no" if self.high < keep - TOLERANCE else "unknown"


def verdict_of(sums: FixedArmSums) -> Verdict:
    """What is known of a baseline by its sums: the one place where a ratio is made of them."""
    reward, baseline, gain = sums.earned, sums.mean_reward(), sums.mean_gain()
    if reward is None or baseline is None or gain is None:
        return Verdict(0, sums.unsupported, 0.0)
    if gain.interval is None or baseline.mean <= 0.0:
        return Verdict(sums.rated, sums.unsupported, sums.worth, reward=reward)
    least, most = (reward + end for end in gain.interval)
    return Verdict(
        rated=sums.rated,
        unsupported=sums.unsupported,
        worth=sums.worth,
        reward=reward,
        baseline_reward=baseline.mean,
        half_width=sums.half_width,
        ratio=reward / baseline.mean,
        low=reward / most,
        high=reward / least if least > 0.0 else math.inf,
        gain=gain.interval,
    )


class BaselineEvidence:
    """Sums over rated decisions, oldest first: additive but for the shortfall test, which has an order.

    keep : the promise that the shortfall test is about, in (0, 1].
    """

    def __init__(self, keep: float) -> None:
        self.keep = keep
        self.away = 0  # decisions that the baseline was not to answer for the most part
        self.since_alarm: int | None = None  # rated decisions since the last alarm
        self._sums = [0.0] * len(fields(FixedArmSums))
        self._wealth = [0.0] * len(STEPS)
        self._calibration = [0.0, 0.0]  # faded: baseline answers, their residuals

    def add(self, one: RatedDecision) -> None:
        """Add a decision. One on which the baseline could not be drawn tells nothing of it and is only counted."""
        terms = fixed_arm_terms(one.baseline_predicted, one.baseline_probability, one.reward, drawn=one.is_baseline)
        self._sums = [total + term for total, term in zip(self._sums, terms, strict=True)]
        if one.baseline_probability <= 0.0:
            return
        self.away += one.baseline_probability < 0.5
        self._test(one)
        if one.is_baseline:
            count, total = self._calibration
            self._calibration = [FADE * count + 1.0, FADE * total + one.reward - one.baseline_predicted]

    @property
    def sums(self) -> FixedArmSums:
        rated, unsupported, drawn, *floats = self._sums
        return FixedArmSums(int(rated), int(unsupported), int(drawn), *floats)

    @property
    def rated(self) -> int:
        return int(self._sums[0])

    @property
    def unsupported(self) -> int:
        return int(self._sums[1])

    @property
    def worth(self) -> float:
        """Uniformly drawn answers of the baseline that this is worth."""
        return self.sums.worth

    @property
    def half_width(self) -> float:
        """Of the 95 % interval of the baseline's mean reward; infinite before two of its answers are rated."""
        return self.sums.half_width

    def verdict(self) -> Verdict:
        """What is known now."""
        return verdict_of(self.sums)

    def _test(self, one: RatedDecision) -> None:
        """The shortfall test: an e-process of Shiryaev-Roberts form on r - (keep - MARGIN) m.

        m is corrected by what the baseline's earlier answers missed of it, so that a baseline which falls with the
        others, or was overrated, is no shortfall.

        While no more than the margin is missing that difference is not negative in the mean, whatever the traffic
        does, so each bet's (wealth + 1)(1 - step x difference) grows by at most one a decision in the mean, and an
        alarm at ``ALARM`` comes no oftener than once in so many, however often one looks (Shin, Ramdas and
        Rinaldo 2022).
        """
        count, total = self._calibration
        baseline = min(max(one.baseline_predicted + total / (count + PSEUDO), 0.0), 1.0)
        difference = one.reward - (self.keep - MARGIN) * baseline
        self._wealth = [
            (wealth + 1.0) * (1.0 - step * difference) for step, wealth in zip(STEPS, self._wealth, strict=True)
        ]
        if self.since_alarm is not None:
            self.since_alarm += 1
        if sum(self._wealth) >= ALARM * len(STEPS):
            self.since_alarm = 0
            self._wealth = [0.0] * len(STEPS)
