"""Whether contexts pay: the policy's own vectors against the fixed-arm mixture. Pure: no clock, no I/O, no drawing.

Whoever knows the arms' mean rewards and costs holds a budget without contexts, by mixing two arms (``frontier.py``).
A contextual policy that has not learned enough yet, or has nothing to learn, is worse than that. Both are compared on
the decisions that were made by the doubly robust estimate of their difference in priced reward

    phi = sum_a (contextual - mixture)_a (mu_a - lambda c_a) + (contextual - mixture)_i / p_i (r - mu_i)

with the means mu that were logged before the reward r of the drawn arm i was known, so that phi has the right
expectation whatever mu is (Dudik, Langford and Li 2011; the propensity is exact). Contextual means priced at lambda
flatter the policy that maximises them; the second term takes that back. Nothing is drawn from the mixture: it is
logged beside the decision, reported, and an alarm when it is credible that contexts lose.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Final

import numpy as np

from banditd.budget.frontier import Mixture, fixed_mixture_at_cost
from banditd.core.types import Blend, FloatArray, IntArray

WINDOW: Final = 500  # recent decisions that the arms' means are taken over
MEMORY: Final = 1000.0  # differences over which their mean is taken
TRUSTED_UNTIL: Final = 100.0  # differences before which nothing is concluded
DOUBT: Final = 2.0  # standard errors by which contexts may look worse before that is an alarm


class Guard:
    """One budget's guard over K arms in a fixed order (``arms`` of the caller); NaN where an arm was not eligible."""

    def __init__(self, n_arms: int) -> None:
        self.n_arms = n_arms
        self._seen: deque[FloatArray] = deque(maxlen=WINDOW)
        self._sum = np.zeros((2, n_arms))
        self._count = np.zeros(n_arms)
        self.weight = self._phi = self._square = self._weight_squares = 0.0

    @property
    def alarm(self) -> bool:
        """Whether contexts look worse than the mixture by more than ``DOUBT`` standard errors."""
        mean, error = self.advantage
        return self.weight >= TRUSTED_UNTIL and error > 0.0 and mean < -DOUBT * error

    @property
    def advantage(self) -> tuple[float, float]:
        """(mean, standard error) of the contextual policy's priced reward over the mixture's, recently."""
        if self.weight <= 0.0:
            return 0.0, math.inf
        mean = self._phi / self.weight
        variance = max(self._square / self.weight - mean * mean, 0.0)
        return mean, math.sqrt(variance * self._weight_squares) / self.weight

    def observe(self, seen: FloatArray) -> None:
        """Learn the arms' mean rewards and costs on what comes: float64 (2, K), NaN where not eligible."""
        if len(self._seen) == WINDOW:
            self._add(self._seen[0], -1.0)
        self._seen.append(seen)
        self._add(seen, 1.0)

    def mixture(self, target_usd: float) -> Mixture | None:
        """The best fixed mix at that mean spend by what is known now, None before anything is."""
        known = np.flatnonzero(self._count > 0.5)
        if not known.size:
            return None
        reward, cost = self._sum[:, known] / self._count[known]
        best = fixed_mixture_at_cost(reward, np.maximum(cost, 0.0), target_usd)
        return Mixture(int(known[best.first]), int(known[best.second]), best.share, best.reward, best.cost_usd)

    def learn(self, difference: float) -> None:
        """Add the ``difference`` of one rewarded decision."""
        fade = 1.0 - 1.0 / MEMORY
        self.weight = fade * self.weight + 1.0
        self._weight_squares = fade * fade * self._weight_squares + 1.0
        self._phi = fade * self._phi + difference
        self._square = fade * self._square + difference * difference

    def _add(self, seen: FloatArray, sign: float) -> None:
        known = np.isfinite(seen[0])
        self._count += sign * known
        self._sum += np.where(known, sign * seen, 0.0)


@dataclass(frozen=True, slots=True, eq=False)
class Paired:
    """A decision whose reward will compare both policies: float64, shape (n,) each, over the eligible arms.

    gap : contextual - mixture. played : what was drawn from. mean : expected rewards. penalty : price x cost.
    """

    gap: FloatArray
    played: FloatArray
    mean: FloatArray
    penalty: FloatArray

    @classmethod
    def of(cls, blend: Blend, played: FloatArray, mean: FloatArray, penalty: FloatArray) -> Paired:
        """What a blended decision compares."""
        return cls(blend.own(played) - blend.fixed, played, mean, penalty)

    def difference(self, index: int, reward: float) -> float:
        """The phi of the module; ``index`` : the arm that was drawn."""
        weight = float(self.gap[index] / self.played[index])
        return float(self.gap @ (self.mean - self.penalty)) + weight * (reward - float(self.mean[index]))


def mixture_vector(mixture: Mixture, arms: IntArray, cost_usd: FloatArray) -> FloatArray:
    """The mix as probabilities over eligible arms: float64, shape (n,), sum 1.

    arms : the eligible ones as the guard counts them, cost_usd : of theirs; (n,) each. The part of an arm that is not
    eligible goes to the other of the mix, and where neither is, to the cheapest.
    """
    vector = mixture.share * (arms == mixture.first) + (1.0 - mixture.share) * (arms == mixture.second)
    total = float(vector.sum())
    if total <= 0.0:
        vector = np.zeros(arms.shape[0])
        vector[int(cost_usd.argmin())] = total = 1.0
    return np.asarray(vector / total)
