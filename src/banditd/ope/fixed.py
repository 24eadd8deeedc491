"""What every arm by itself would have earned on a policy's traffic: doubly robust terms, one decision at a time.

For arm a on a decision that drew arm c with probability p and was rewarded r, with the rewards mu that were predicted
when it was made, phi_a = mu_a + 1[a = c] (r - mu_a) / p. Given the past it is unbiased whatever mu is worth, and the
better mu, the less it varies (Dudik, Langford and Li 2011, Doubly robust policy evaluation and learning, section 3).
Sums of these terms are all that has to be kept. Pure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from banditd.ope.diagnostics import FEWEST_EFFECTIVE

_Z: Final = 1.959963984540054


@dataclass(frozen=True, slots=True)
class FixedArmSums:
    """Sums over decisions for which the arm was eligible, of phi, phi - r (what it would have brought more than was
    earned), and the inverse propensities w of those decisions that drew it.
    """

    decisions: int = 0
    estimate: float = 0.0
    estimate_square: float = 0.0
    difference: float = 0.0
    difference_square: float = 0.0
    weight: float = 0.0
    weight_square: float = 0.0

    @property
    def effective(self) -> float:
        """Kish's effective sample size of the decisions that drew the arm."""
        return self.weight * self.weight / self.weight_square if self.weight_square > 0.0 else 0.0

    @property
    def objection(self) -> str | None:
        """Why nothing should be concluded; None when it may."""
        if self.effective < FEWEST_EFFECTIVE:
            return f"not enough data: effective sample size {self.effective:.0f}, below {FEWEST_EFFECTIVE:.0f}"
        return None

    def reward(self) -> MeanEstimate | None:
        """Mean reward had the arm answered everything; None without a decision."""
        return MeanEstimate.of(self.decisions, self.estimate, self.estimate_square)

    def gain(self) -> MeanEstimate | None:
        """Mean reward that it would have brought beyond what was earned on the same decisions."""
        return MeanEstimate.of(self.decisions, self.difference, self.difference_square)


@dataclass(frozen=True, slots=True)
class MeanEstimate:
    """A mean and its standard error (infinite from a single decision)."""

    mean: float
    error: float

    @classmethod
    def of(cls, n: int, total: float, square: float) -> MeanEstimate | None:
        if n <= 0:
            return None
        mean = total / n
        variance = max(0.0, square / n - mean * mean)
        return cls(mean, math.sqrt(variance / (n - 1)) if n > 1 else math.inf)

    def interval(self) -> tuple[float, float]:
        """95 % interval by the normal approximation, which the martingale's sums obey for many decisions."""
        return self.mean - _Z * self.error, self.mean + _Z * self.error


def fixed_arm_terms(mean: float, reward: float, propensity: float | None) -> tuple[float, ...]:
    """One decision's terms for one arm, in the order of ``FixedArmSums``'s fields.

    Parameters
    ----------
    mean : its predicted reward. reward : that was earned. propensity : of the draw if this arm was drawn, in (0, 1],
        else None.
    """
    weight = 0.0 if propensity is None else 1.0 / propensity
    estimate = mean + weight * (reward - mean)
    difference = estimate - reward
    return (1, estimate, estimate * estimate, difference, difference * difference, weight, weight * weight)
