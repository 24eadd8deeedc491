"""What the baseline would have earned on the decisions made, and whether the promise about it was kept.

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

TOLERANCE: Final = 0.01  # of the ratio, since a controller that aims at ``keep`` can never prove more than ``keep``
ENOUGH_WORTH: Final = 50.0  # uniformly drawn answers of the baseline needed before a promise counts as kept
STEPS: Final = (0.05, 0.1, 0.2, 0.35, 0.5, 0.7)  # bets of the shortfall test, mixed evenly
MARGIN: Final = 0.03  # share of the baseline's quality below ``keep`` that the shortfall test tolerates
ALARM: Final = 5000.0  # least mean number of rated decisions between false alarms, at that edge
FADE: Final = 1.0 - 1.0 / 200.0  # per answer of the baseline, of its prediction errors
PSEUDO: Final = 20.0  # pseudo-answers without a prediction error

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
    """How much of the baseline's quality was kept, over ``rated`` decisions.

    ratio : mean reward over the baseline's. low, high : its 95 % interval, or None without data.
    gain : 95 % interval of the baseline's mean reward minus what was earned.
    worth : uniformly drawn answers of the baseline that the evidence is worth.
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
        """Whether ``keep`` was kept; known either way only if the interval says so."""
        if self.low is None or self.high is None or self.worth < ENOUGH_WORTH:
            return "unknown"
        if self.low >= keep - TOLERANCE:
            return "yes"
        return "no" if self.high < keep - TOLERANCE else "unknown"


def verdict_of(sums: FixedArmSums) -> Verdict:
    """The verdict on a baseline given its sums; the only place where the ratio is computed."""
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
    """Sums over rated decisions, oldest first; additive except for the shortfall test, which depends on order.

    keep : the promise that the shortfall test is about, in (0, 1].
    """

    def __init__(self, keep: float) -> None:
        self.keep = keep
        self.away = 0  # decisions on which the baseline's probability was below one half
        self.since_alarm: int | None = None  # rated decisions since the last alarm
        self._sums = [0.0] * len(fields(FixedArmSums))
        self._wealth = [0.0] * len(STEPS)
        self._calibration = [0.0, 0.0]  # faded: baseline answers, their residuals

    def add(self, one: RatedDecision) -> None:
        """Add a decision.

        It is only counted if the baseline could not be drawn on it, since it then says nothing about it.
        """
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
        """The present verdict."""
        return verdict_of(self.sums)

    def _test(self, one: RatedDecision) -> None:
        """The shortfall test: an e-process of Shiryaev-Roberts form on r - (keep - MARGIN) m.

        m is corrected by the prediction errors of the baseline's earlier answers, so that a baseline which falls
        together with the others, or was overrated, is no shortfall. While no more than the margin is missing, that
        difference has a non-negative mean, whatever the traffic does. So each bet's (wealth + 1)(1 - step x
        difference) grows by at most one per decision in expectation, and alarms at ``ALARM`` are at least that many
        decisions apart on average, however often one looks (Shin, Ramdas and Rinaldo 2022).
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
