"""LinUCB on the same posterior: the highest upper confidence bound, mixed so that propensities exist.

Source: Li, Chu, Langford and Schapire 2010, algorithms 1 (disjoint) and 2 (hybrid). Here ``alpha`` counts
posterior standard deviations, noise included in them, so it does not depend on the scale of the rewards.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from banditd.bandit.policies.base import Scores
from banditd.bandit.policies.greedy import spread_over
from banditd.bandit.policies.view import PolicyView
from banditd.core.contexts import Contexts
from banditd.core.types import BoolArray, FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class LinUCBOptions:
    """alpha : standard deviations, >= 0. epsilon : share drawn uniformly, in [0, 1].

    model : ``disjoint`` (every arm alone) or ``hybrid`` (a part that all arms share).
    """

    alpha: float = 0.5
    epsilon: float = 0.02
    model: str = "disjoint"


class LinUCB:
    kind = "linucb"

    def __init__(self, view: PolicyView, options: LinUCBOptions) -> None:
        self._posterior = view.posterior
        self._alpha = options.alpha
        self._epsilon = options.epsilon

    def scores(self, contexts: Contexts, penalty: FloatArray, allowed: BoolArray) -> Scores:
        moments = self._posterior.moments(contexts.x, penalty, allowed)
        deviation = np.sqrt(moments.variance)
        bound = np.where(allowed, moments.utility + self._alpha * deviation, -np.inf)
        winners = bound >= bound.max(1, keepdims=True) - 1e-9
        return Scores(moments.mean, deviation, spread_over(winners, allowed, self._epsilon))
