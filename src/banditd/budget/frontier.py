"""The fixed-arm mixture: the best random mix of constant policies at a given cost. It does not learn.

It is the standard that a contextual policy must meet, since whoever knows the arms' means can play it without
contexts.
"""

from __future__ import annotations

from dataclasses import dataclass

from banditd.core.types import FloatArray


@dataclass(frozen=True, slots=True)
class Mixture:
    """``share`` of the decisions go to arm ``first``, the rest to arm ``second`` (the same arm if it is pure)."""

    first: int
    second: int
    share: float
    reward: float
    cost_usd: float


def fixed_mixture_at_cost(reward: FloatArray, cost_usd: FloatArray, budget_usd: float) -> Mixture:
    """The mix of two arms (or one) with the highest mean reward whose mean cost is within the budget.

    Parameters
    ----------
    reward, cost_usd : float64, shape (n_arms,), means of each arm.
    budget_usd : mean dollars per decision; below the cheapest arm's cost, that arm is the answer.

    A linear programme with one constraint has a solution of at most two arms: O(n_arms^2).
    """
    cheapest = int(cost_usd.argmin())
    best = Mixture(cheapest, cheapest, 1.0, float(reward[cheapest]), float(cost_usd[cheapest]))
    affordable = [i for i in range(len(reward)) if cost_usd[i] <= budget_usd]
    dear = [i for i in range(len(reward)) if cost_usd[i] > budget_usd]
    for i in affordable:
        if reward[i] > best.reward or best.cost_usd > budget_usd:
            best = Mixture(i, i, 1.0, float(reward[i]), float(cost_usd[i]))
        for j in dear:
            share = float((cost_usd[j] - budget_usd) / (cost_usd[j] - cost_usd[i]))
            mixed = float(share * reward[i] + (1.0 - share) * reward[j])
            if mixed > best.reward:
                best = Mixture(i, j, share, mixed, budget_usd)
    return best
