"""What the baseline would have earned on the decisions that were made, and whether a promise about it was kept.

Over the rated decisions on which the baseline could have been drawn, with its logged probability p and logged
prediction m, and r the reward of the drawn arm:

    phi   = m + 1{baseline drawn} (r - m) / p                  doubly robust (Dudik, Langford and Li 2011)
    half  = t sqrt(s2 mean((1 - p) / p) / n)                   of the mean of phi, by the design's variance

s2 is the residual power of the drawn answers with two pseudo-residuals of 1/4, t is Student's quantile at
min(drawn, worth) - 1 degrees, worth = n / mean(1 / p). The decisions that did not draw the baseline carry the
information about how little is known of it, which an empirical variance of the drawn ones misses. What was played is
known exactly, so the interval of the ratio comes from the baseline's alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

from scipy.special import stdtrit

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

    def held(self, keep: float) -> Held:
        """Whether ``keep`` was kept: known either way only where the interval tells."""
        if self.low is None or self.high is None or self.worth < ENOUGH_WORTH:
            return "unknown"
        if self.low >= keep - TOLERANCE:
            return "yes"
        return "no" if self.high < keep - TOLERANCE else "unknown"


class BaselineEvidence:
    """Sums over rated decisions, oldest first: additive but for the shortfall test, which has an order.

    keep : the promise that the shortfall test is about, in (0, 1].
    """

    def __init__(self, keep: float) -> None:
        self.keep = keep
        self.rated = self.unsupported = self.drawn = self.away = 0
        self.since_alarm: int | None = None  # rated decisions since the last alarm
        self._reward = self._phi = self._odds = self._inverse = self._residual2 = 0.0
        self._wealth = [0.0] * len(STEPS)
        self._calibration = [0.0, 0.0]  # faded: baseline answers, their residuals

    def add(self, one: RatedDecision) -> None:
        """Add a decision. One on which the baseline could not be drawn tells nothing of it and is only counted."""
        p = one.baseline_probability
        if p <= 0.0:
            self.unsupported += 1
            return
        self.rated += 1
        self.away += p < 0.5
        self._reward += one.reward
        self._odds += (1.0 - p) / p
        self._inverse += 1.0 / p
        self._phi += one.baseline_predicted
        if one.is_baseline:
            residual = one.reward - one.baseline_predicted
            self.drawn += 1
            self._phi += residual / p
            self._residual2 += residual * residual
        self._test(one)
        if one.is_baseline:
            count, total = self._calibration
            self._calibration = [FADE * count + 1.0, FADE * total + one.reward - one.baseline_predicted]

    @property
    def worth(self) -> float:
        """Uniformly drawn answers of the baseline that this is worth: n / mean(1 / p)."""
        return self.rated * self.rated / self._inverse if self._inverse > 0.0 else 0.0

    @property
    def half_width(self) -> float:
        """Of the 95 % interval of the baseline's mean reward; infinite before two of its answers are rated."""
        if self.drawn < 2 or self.worth <= 2.0:
            return math.inf
        power = (self._residual2 + 0.5) / (self.drawn + 2)
        quantile = float(stdtrit(min(float(self.drawn), self.worth) - 1.0, 0.975))
        return quantile * math.sqrt(power * self._odds / self.rated / self.rated)

    def verdict(self) -> Verdict:
        """What is known now."""
        if self.rated == 0:
            return Verdict(0, self.unsupported, 0.0)
        reward, baseline, half = self._reward / self.rated, self._phi / self.rated, self.half_width
        if not math.isfinite(half) or baseline <= 0.0:
            return Verdict(self.rated, self.unsupported, self.worth, reward=reward)
        return Verdict(
            rated=self.rated,
            unsupported=self.unsupported,
            worth=self.worth,
            reward=reward,
            baseline_reward=baseline,
            half_width=half,
            ratio=reward / baseline,
            low=reward / (baseline + half),
            high=reward / (baseline - half) if baseline > half else math.inf,
        )

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
