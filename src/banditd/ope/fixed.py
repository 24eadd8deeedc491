"""What every arm alone would have earned on a policy's traffic, and how certain that is; one decision at a time.

For arm a on a decision that drew arm c with probability p_c and was rewarded r, with the rewards mu that were
predicted when it was made, phi_a = mu_a + 1[a = c] (r - mu_a) / p_a. Given the past it is unbiased whatever mu is,
and the better mu, the less it varies (Dudik, Langford and Li 2011, Doubly robust policy evaluation and learning,
section 3).

The uncertainty follows from the design, that is from the logged probabilities of *all* decisions:

    half = t sqrt(s2 mean((1 - p_a) / p_a) / n)

with s2 the mean residual power of the decisions that drew the arm, with two pseudo-residuals of 1/4 (see
``mean_residual_power``), and t Student's quantile at min(drawn, worth) - 1 degrees, worth = n / mean(1 / p_a). An
empirical variance of phi would miss the decisions on which the arm was improbable and so never drawn: it is narrowest
where least is known. Only sums have to be stored. Pure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from scipy.special import stdtrit

FEWEST: Final = 2.0  # drawn answers, and answers' worth, needed for an interval
_PSEUDO_POWER: Final = 0.5  # of two residuals of 1/2, as if two answers had been fair coins
LEVEL: Final = 0.975
"""The upper end of a two-sided interval of 95 %, as a probability ..."""
Z: Final = 1.959963984540054
"""... and in standard errors of the normal distribution."""


@dataclass(frozen=True, slots=True)
class FixedArmSums:
    """Sums over rated decisions, of one arm; additive.

    rated : decisions on which it could have been drawn.
    unsupported : decisions on which its logged probability was 0; they say nothing about it and are in no other sum.
    drawn : decisions that drew it.
    estimate : of phi. gain : of phi - r, its reward beyond what was earned.
    inverse_probability : of 1 / p. residual_power : of (r - mu)^2 where it was drawn.
    """

    rated: int = 0
    unsupported: int = 0
    drawn: int = 0
    estimate: float = 0.0
    gain: float = 0.0
    inverse_probability: float = 0.0
    residual_power: float = 0.0

    @property
    def worth(self) -> float:
        """The number of uniformly drawn answers of the arm that this is worth: n / mean(1 / p)."""
        return worth(self.rated, self.inverse_probability)

    @property
    def half_width(self) -> float:
        """Half-width of the 95 % intervals below; infinite without data."""
        return design_half_width(self.rated, self.drawn, self.inverse_probability, self.residual_power)

    @property
    def earned(self) -> float | None:
        """Mean reward earned on the rated decisions; None if there are none."""
        return (self.estimate - self.gain) / self.rated if self.rated > 0 else None

    def mean_reward(self) -> MeanEstimate | None:
        """Mean reward if the arm had answered everything, in [0, 1]; None without a decision."""
        return MeanEstimate.within(self.estimate / self.rated, self.half_width, 0.0, 1.0) if self.rated > 0 else None

    def mean_gain(self) -> MeanEstimate | None:
        """Mean reward of the arm minus what was earned.

        The mean is limited to what is possible on the rated decisions, the interval to what is possible on the
        traffic that they are a sample of: three good answers do not prove that nothing was lost.
        """
        earned = self.earned
        if earned is None:
            return None
        mean, half = self.gain / self.rated, self.half_width
        least, most = wilson_interval(min(1.0, max(0.0, earned)), self.rated)
        best = min(1.0 - earned, max(-earned, mean))
        wide = MeanEstimate.within(mean, half, -most, 1.0 - least).interval
        return MeanEstimate(best, None if wide is None else (min(wide[0], best), max(wide[1], best)))


FIXED_ARM_SUMS: Final = (
    "supported_rewards", "unsupported_rewards", "drawn_rewards", "fixed_reward_sum", "fixed_gain_sum",
    "inverse_probability_sum", "residual_power",
)  # fmt: skip
"""What the fields of ``FixedArmSums`` are called in reports and in SQL, in their order."""
FIXED_ARM_COUNTS: Final = 3  # of them are whole numbers


@dataclass(frozen=True, slots=True)
class MeanEstimate:
    """A mean with its 95 % interval, or None if there are no data for one."""

    mean: float
    interval: tuple[float, float] | None

    @classmethod
    def within(cls, mean: float, half_width: float, low: float, high: float) -> MeanEstimate:
        """Cut to the possible range [low, high], which never excludes the truth."""

        def cut(value: float) -> float:
            return min(high, max(low, value))

        interval = (cut(mean - half_width), cut(mean + half_width)) if math.isfinite(half_width) else None
        return cls(cut(mean), interval)


def wilson_interval(mean: float, count: int) -> tuple[float, float]:
    """The 95 % interval of a mean of ``count`` >= 1 rewards in [0, 1], as if every one were 0 or 1.

    No variable in [0, 1] varies more than that, so it is on the safe side (Wilson 1927; var <= m (1 - m)).
    """
    spread = Z * Z / count
    centre = (mean + spread / 2.0) / (1.0 + spread)
    half = Z / (1.0 + spread) * math.sqrt(mean * (1.0 - mean) / count + spread / (4.0 * count))
    return max(0.0, centre - half), min(1.0, centre + half)


def worth(rated: int, inverse_probability: float) -> float:
    """Uniformly drawn answers of an arm that ``rated`` decisions are worth, see ``FixedArmSums``."""
    return rated * rated / inverse_probability if inverse_probability > 0.0 else 0.0


@lru_cache(maxsize=1024)  # a report asks for that of the same sums a dozen times
def design_half_width(rated: int, drawn: int, inverse_probability: float, residual_power: float) -> float:
    """Half-width of the 95 % interval of an arm's mean reward, by the design's variance.

    Parameters
    ----------
    rated, drawn, inverse_probability, residual_power : as in ``FixedArmSums``.

    Returns
    -------
    Infinite where no data are behind an interval: fewer than two answers of the arm, or less than two's worth.
    """
    sample = min(float(drawn), worth(rated, inverse_probability))
    if sample < FEWEST:
        return math.inf
    power = mean_residual_power(rated, drawn, residual_power)
    odds = max(inverse_probability - rated, 0.0)
    return float(stdtrit(sample - 1.0, LEVEL)) * math.sqrt(power * odds) / rated


def mean_residual_power(rated: int, drawn: int, residual_power: float) -> float:
    """Mean square of an arm's prediction errors, with two pseudo-residuals of 1/4.

    It is needed for the decisions that did not draw the arm. If those are few and the others many, as for an arm that
    answers nearly everything, the many are about other decisions (later ones, predicted better), so they count for as
    many as the few.
    """
    if drawn <= 0:
        return _PSEUDO_POWER / 2.0
    counted = min(drawn, rated - drawn)
    return (residual_power * counted / drawn + _PSEUDO_POWER) / (counted + 2)


def fixed_arm_terms(mean: float, probability: float, reward: float, *, drawn: bool) -> tuple[float, ...]:
    """One decision's terms for one arm, in the order of ``FixedArmSums``'s fields.

    Parameters
    ----------
    mean : its predicted reward. probability : with which it was to be drawn, as logged, in [0, 1]. reward : that was
        earned. drawn : whether this arm was.
    """
    if probability <= 0.0:
        return (0, 1, 0, 0.0, 0.0, 0.0, 0.0)
    residual = reward - mean if drawn else 0.0
    estimate = mean + residual / probability
    return (1, 0, int(drawn), estimate, estimate - reward, 1.0 / probability, residual * residual)
