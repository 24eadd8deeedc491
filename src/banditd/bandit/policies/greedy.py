"""Policies that explore by the gap between means alone: epsilon-greedy and SquareCB."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from banditd.bandit.policies.base import Scores
from banditd.bandit.policies.view import PolicyView
from banditd.core.contexts import Contexts
from banditd.core.types import BoolArray, FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class EpsilonGreedyOptions:
    """epsilon : share drawn uniformly, in [0, 1]. model : ``pooled`` or ``disjoint``."""

    epsilon: float = 0.05
    model: str = "pooled"


class EpsilonGreedy:
    """The best mean with probability 1 - epsilon, otherwise any eligible arm."""

    kind = "epsilon_greedy"

    def __init__(self, view: PolicyView, options: EpsilonGreedyOptions) -> None:
        self._posterior = view.posterior
        self._epsilon = options.epsilon

    def scores(self, contexts: Contexts, penalty: FloatArray, allowed: BoolArray) -> Scores:
        moments = self._posterior.moments(contexts.x, penalty, allowed)
        utility = np.where(allowed, moments.utility, -np.inf)
        winners = utility >= utility.max(1, keepdims=True) - 1e-12
        return Scores(moments.mean, np.sqrt(moments.variance), spread_over(winners, allowed, self._epsilon))


def spread_over(winners: BoolArray, allowed: BoolArray, epsilon: float) -> FloatArray:
    """The winners equally with probability 1 - epsilon, otherwise any allowed arm: float64, rows sum to 1."""
    best = winners / winners.sum(1, keepdims=True)
    spread: FloatArray = (1.0 - epsilon) * best + epsilon * (allowed / allowed.sum(1, keepdims=True))
    return spread


@dataclass(frozen=True, slots=True, kw_only=True)
class SquareCBOptions:
    """gamma_scale, exponent : gamma = gamma_scale * n^exponent; gamma_cap : its ceiling.

    Without a ceiling gamma grows for ever and propensities vanish. model : ``pooled`` or ``disjoint``.
    """

    gamma_scale: float = 10.0
    exponent: float = 0.5
    gamma_cap: float = 1000.0
    model: str = "pooled"


class SquareCB:
    """Inverse gap weighting: p_a = 1 / (K + gamma (u* - u_a)), the rest to the best arm.

    Source: Foster and Rakhlin 2020, algorithm 1.
    """

    kind = "squarecb"

    def __init__(self, view: PolicyView, options: SquareCBOptions) -> None:
        self._posterior = view.posterior
        seen = max(float(view.posterior.counts.sum()), 1.0)
        self._gamma = min(options.gamma_scale * seen**options.exponent, options.gamma_cap)

    def scores(self, contexts: Contexts, penalty: FloatArray, allowed: BoolArray) -> Scores:
        moments = self._posterior.moments(contexts.x, penalty, allowed)
        utility = np.where(allowed, moments.utility, -np.inf)
        best, row = utility.argmax(1), np.arange(utility.shape[0])
        gap = utility[row, best][:, None] - utility  # infinite where not allowed
        probability = 1.0 / (allowed.sum(1, keepdims=True) + self._gamma * gap)
        probability[row, best] = 0.0
        probability[row, best] = np.maximum(1.0 - probability.sum(1), 0.0)
        return Scores(moments.mean, np.sqrt(moments.variance), probability)
