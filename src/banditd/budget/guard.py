"""Whether contexts pay off: compares the policy's own vectors with the fixed-arm mixture. Pure; nothing is drawn.

Whoever knows the arms' mean rewards and costs can keep a budget without contexts, by mixing two arms
(``frontier.py``). A contextual policy that has not learned enough yet, or has nothing to learn, does worse. Both are
compared on the decisions that were made, by the doubly robust estimate of their difference in priced reward

    phi = sum_a (contextual - mixture)_a (mu_a - lambda c_a) + (contextual - mixture)_i / p_i (r - mu_i)

where the means mu were logged before the reward r of the drawn arm i was known, so that phi has the right expectation
whatever mu is (Dudik, Langford and Li 2011; the propensity is exact). Contextual means priced at lambda flatter the
policy that maximises them; the second term corrects that. Nothing is drawn from the mixture: it is logged beside the
decision and reported, and an alarm is raised if contexts credibly lose.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Final

import numpy as np

from banditd.budget.frontier import Mixture, fixed_mixture_at_cost
from banditd.core.types import Blend, FloatArray, IntArray

WINDOW: Final = 500  # recent decisions over which the arms' means are computed
MEMORY: Final = 1000.0  # differences over which their mean is computed
TRUSTED_UNTIL: Final = 100.0  # differences before which nothing is concluded
DOUBT: Final = 2.0  # standard errors by which contexts may look worse without an alarm


class Guard:
    """One budget's guard over K arms in a fixed order; NaN where an arm was not eligible."""

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
        """Learn the arms' mean rewards and costs on incoming queries: float64 (2, K), NaN where not eligible."""
        if len(self._seen) == WINDOW:
            self._add(self._seen[0], -1.0)
        self._seen.append(seen)
        self._add(seen, 1.0)

    def mixture(self, target_usd: float) -> Mixture | None:
        """The best fixed mix at that mean spend, by what is known now; None if nothing is."""
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

    gap : contextual - mixture. played : the vector drawn from. mean : expected rewards. penalty : price x cost.
    """

    gap: FloatArray
    played: FloatArray
    mean: FloatArray
    penalty: FloatArray

    @classmethod
    def of(cls, blend: Blend, played: FloatArray, mean: FloatArray, penalty: FloatArray) -> Paired:
        """The comparison that a decision with a blend allows."""
        return cls(blend.own(played) - blend.fixed, played, mean, penalty)

    def difference(self, index: int, reward: float) -> float:
        """The module's phi. index : of the drawn arm."""
        weight = float(self.gap[index] / self.played[index])
        return float(self.gap @ (self.mean - self.penalty)) + weight * (reward - float(self.mean[index]))


def mixture_vector(mixture: Mixture, arms: IntArray, cost_usd: FloatArray) -> FloatArray:
    """The mix as probabilities over eligible arms: float64, shape (n,), sum 1.

    arms : the eligible ones, by the guard's indices; cost_usd : theirs; (n,) each. The share of an arm that is not
    eligible goes to the other arm of the mix or, if neither is, to the cheapest.
    """
    vector = mixture.share * (arms == mixture.first) + (1.0 - mixture.share) * (arms == mixture.second)
    total = float(vector.sum())
    if total <= 0.0:
        vector = np.zeros(arms.shape[0])
        vector[int(cost_usd.argmin())] = total = 1.0
    return np.asarray(vector / total)
