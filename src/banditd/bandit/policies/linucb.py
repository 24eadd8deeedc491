"""LinUCB on the same posterior: the highest upper confidence bound, mixed so that propensities exist.

Source: Li, Chu, Langford and Schapire 2010, algorithms 1 (disjoint) and 2 (hybrid). Here ``alpha`` counts
posterior standard deviations, noise included in them, so it does not depend on the scale of the rewards.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from banditd.bandit.policies.base import Scores
from banditd.bandit.policies.view import PolicyView
from banditd.core.types import Context, FloatArray, IntArray


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

    def scores(self, context: Context, arms: IntArray, penalty: FloatArray) -> Scores:
        moments = self._posterior.moments(context.x, arms, penalty)
        deviation = np.sqrt(moments.variance)
        bound = moments.mean - penalty + self._alpha * deviation
        winners = bound >= bound.max() - 1e-9
        probability = (1.0 - self._epsilon) * winners / winners.sum() + self._epsilon / arms.shape[0]
        return Scores(moments.mean, deviation, probability)
